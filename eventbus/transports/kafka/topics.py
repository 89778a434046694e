"""Topics: which there are, what they are like, making and removing them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import TimeoutError as LateError
from time import monotonic, sleep
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ...errors import AuthenticationError, TopologyError
from .errors import MISSING, code_of
from .options import ANSWER_TIMEOUT
from .questions import PATIENCE, SOON, Questions


class Topic(NamedTuple):
    """A topic as it is now; another one of the same name has another id."""

    id: str
    partitions: int


class Topics:
    """What is asked of brokers about topics."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._options = questions.options

    def names(self) -> list[str]:
        """All topics of the cluster."""
        return list(self._questions.metadata())

    def find(self, names: Collection[str]) -> dict[str, Topic]:
        """Those that there are."""
        if not names:
            return {}
        asked = self._questions.client().describe_topics(
            TopicCollection(list(names)), request_timeout=ANSWER_TIMEOUT
        )
        found = {}
        for name, future in asked.items():
            try:
                about = self._questions.wait(future)
            except KafkaException as error:
                if code_of(error) in MISSING:
                    continue
                raise self._questions.translated(error) from None
            except LateError as error:
                raise self._questions.translated(error) from None
            found[name] = Topic(str(about.topic_id), len(about.partitions))
        return found

    def create(
        self, name: str, partitions: int, config: Mapping[str, str],
        timeout: float = ANSWER_TIMEOUT,
    ) -> bool:
        """Make a topic; `False` if it was there."""
        wanted = NewTopic(
            name, partitions or -1, self._options.config.replication or -1, config=dict(config)
        )
        (future,) = self._questions.client().create_topics(
            [wanted], request_timeout=ANSWER_TIMEOUT
        ).values()
        try:
            self._questions.wait(future, timeout)
        except (KafkaException, LateError) as error:
            if code_of(error) == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            if code_of(error) == KafkaError.TOPIC_EXCEPTION:
                raise TopologyError(
                    f"{self._options.name}: {error.args[0].str()}: Kafka does not tell '.' and "
                    "'_' apart in names of topics, so rename one of the two event types"
                ) from None
            raise self._questions.translated(error) from None
        return True

    def set_config(self, topic: str, config: Mapping[str, str]) -> None:
        """See to it that a topic has these settings; one that a broker made by itself has not."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self._config_of(resource)
        wrong = {name: value for name, value in config.items() if found.get(name) != value}
        for name, value in wrong.items():
            operation = AlterConfigOpType.SET
            resource.add_incremental_config(
                ConfigEntry(name, value, incremental_operation=operation)
            )
        if wrong:
            asked = self._questions.client().incremental_alter_configs(
                [resource], request_timeout=ANSWER_TIMEOUT
            )
            self._questions.answer(next(iter(asked.values())))

    def _config_of(self, resource: Any) -> dict[str, str | None]:
        """Ask until the broker has heard of a topic that was made a moment ago."""
        deadline = monotonic() + PATIENCE
        while True:
            client = self._questions.client()
            asked = client.describe_configs([resource], request_timeout=ANSWER_TIMEOUT)
            try:
                found = self._questions.wait(asked[resource])
            except (KafkaException, LateError) as error:
                if code_of(error) not in MISSING or monotonic() >= deadline:
                    raise self._questions.translated(error) from None
                sleep(SOON)
            else:
                return {name: entry.value for name, entry in found.items()}

    def configs(self, resources: list[Any]) -> list[dict[str, str | None]]:
        asked = self._questions.client().describe_configs(resources, request_timeout=ANSWER_TIMEOUT)
        return [
            {name: entry.value for name, entry in self._questions.answer(future).items()}
            for future in asked.values()
        ]

    def describe(self, names: Collection[str]) -> dict[str, Any]:
        """All that is known of topics, and what we may do; `None` where we may not know."""
        asked = self._questions.client().describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True,
            request_timeout=ANSWER_TIMEOUT,
        )
        found: dict[str, Any] = {}
        for name, future in asked.items():
            try:
                found[name] = self._questions.answer(future)
            except AuthenticationError:
                found[name] = None
        return found

    def delete(self, names: Collection[str]) -> None:
        if not names:
            return
        asked = self._questions.client().delete_topics(list(names), request_timeout=ANSWER_TIMEOUT)
        for future in asked.values():
            try:
                self._questions.wait(future)
            except (KafkaException, LateError) as error:
                if code_of(error) not in MISSING:
                    raise self._questions.translated(error) from None

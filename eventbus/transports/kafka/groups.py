"""Consumer groups as others see them: what they have committed, and how they are."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import TimeoutError as LateError
from threading import Lock

from confluent_kafka import KafkaException, TopicPartition

from .asker import Asker
from .offsets import Place
from .options import ANSWER_TIMEOUT
from .questions import Questions

#: Groups that can be asked without connecting anew.
ONLOOKERS = 8


class Groups:
    """What is asked of brokers about groups."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        #: Clients that ask for what groups have committed, by group.
        self._onlookers: dict[str, Asker] = {}
        self._lock = Lock()
        questions.listening.append(self._take_in)

    def _take_in(self) -> None:
        for asker in list(self._onlookers.values()):
            asker.take_in()

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, TopicPartition]:
        """What a group has committed of partitions, with metadata.

        By a consumer that does not join: the admin client's own question aborts the process when
        the group's broker restarts in the middle of it (librdkafka 2.16).
        """
        asked = [TopicPartition(*place) for place in places]
        found = self._questions.patiently(
            lambda timeout: self.onlooker(group).committed(asked, timeout)
        )
        return {(p.topic, p.partition): p for p in found if p.error is None and p.offset >= 0}

    def onlooker(self, group: str) -> Asker:
        """Who asks for a group; made early, it has found the group's broker when it is asked."""
        with self._lock:
            asker = self._onlookers.pop(group, None)
            if asker is None or asker.stranded:
                asker = Asker.make(self._questions, {"group.id": group})
            # The one that was used last is the last to go.
            self._onlookers[group] = asker
            if len(self._onlookers) > ONLOOKERS:
                del self._onlookers[next(iter(self._onlookers))]
            return asker

    def state(self, group: str) -> str:
        """State of a group and its number of members, for people."""
        client = self._questions.client()
        asked = client.describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT)
        about = self._questions.answer(asked[group])
        return f"{about.state.name.lower()}, {len(about.members)} members"

    def delete(self, group: str) -> None:
        """Delete an empty group, if it can be: what it has committed is not believed anyway."""
        client = self._questions.client()
        asked = client.delete_consumer_groups([group], request_timeout=ANSWER_TIMEOUT)
        try:
            self._questions.wait(asked[group])
        except (KafkaException, LateError):
            return

    def reset(self) -> None:
        """Forget the clients; the next question makes another one."""
        with self._lock:
            self._onlookers = {}

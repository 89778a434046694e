"""Asking brokers about topics, groups and offsets, and making topics. Any thread may ask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from threading import Lock
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ...errors import AuthenticationError, EventBusError, TopologyError, TransportError
from . import clients
from .asker import Asker
from .errors import LATE, MISSING, code_of, translate
from .options import ANSWER_TIMEOUT, Options
from .stranding import Silence
from .trouble import Trouble

T = TypeVar("T")

#: Seconds between two looks at what the callbacks have told.
GLANCE = 0.05
#: Seconds until a partition that was made a moment ago is asked for again.
SOON = 0.02
#: Errors of a partition that was made a moment ago, or whose leader moves.
LEADERLESS = frozenset(
    (
        KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._NOENT,
        KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH,
    )
)
#: Groups that can be asked without connecting anew.
ONLOOKERS = 8
#: Seconds of one look for leaders.
PATIENCE = 1.0

#: Seconds after which nobody asks a client any more that was replaced.
RETIRED = 15.0

#: A partition of a topic.
Place = tuple[str, int]


class Topic(NamedTuple):
    """A topic as it is now; another one of the same name has another id."""

    id: str
    partitions: int


class Admin:
    """One client for all questions, made by the first of them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._trouble = Trouble(options.name)
        self._client: AdminClient | None = None
        self._silence = Silence(options.config.brokers or ())
        self._replaced: list[tuple[float, AdminClient]] = []
        self._asker: Asker | None = None
        #: Clients that ask for what groups have committed, by group.
        self._onlookers: dict[str, Asker] = {}
        self._lock = Lock()
        self._closing = False

    def client(self) -> AdminClient:
        """The one there is."""
        with self._lock:
            if self._client is None:
                self._client = clients.make(AdminClient, self._options.admin(), self._trouble)
            return self._client

    def _replace(self, stranded: AdminClient) -> None:
        """To destroy one that another thread asks can abort the process: that is done later."""
        now = monotonic()
        with self._lock:
            if self._client is stranded:
                self._replaced = [one for one in self._replaced if now - one[0] < RETIRED]
                self._replaced.append((now, stranded))
                self._client = None
                self._silence.answered()

    def _take_in(self) -> None:
        while self._client is not None and self._client.poll(0):
            continue
        for asker in (self._asker, *list(self._onlookers.values())):
            if asker is not None:
                asker.take_in()

    def _answer(self, future: Future[T]) -> T:
        try:
            return self._wait(future)
        except (KafkaException, LateError) as error:
            raise self._translated(error) from None

    def _wait(self, future: Future[T], most: float = ANSWER_TIMEOUT) -> T:
        """The answer, or what the callbacks tell meanwhile: the client says it much later."""
        begun = self._begin()
        while True:
            try:
                answer = future.result(GLANCE)
            except LateError:
                self._glance(begun)
                if self._waited_enough(begun, most):
                    raise
            else:
                self._trouble.works()
                return answer

    def _begin(self) -> float:
        """When a question begins: what is told of the time before is no answer to it."""
        self._take_in()
        return monotonic()

    def _glance(self, begun: float | None = None) -> None:
        """Raise what makes waiting pointless."""
        trouble = self._trouble
        self._take_in()
        error: EventBusError | None = trouble.mistaken
        try:
            trouble.check(begun)
        except TransportError as denied:
            error = denied
        down = trouble.down and trouble.down_at > (begun or 0.0)
        if error is None and down and trouble.reason and not trouble.worked:
            error = trouble.unavailable("cannot be reached")
        if error is not None:
            try:
                raise error
            finally:
                # Or it and the frames up to here, and in them a client, hold each other.
                del error

    def _translated(self, error: Exception) -> EventBusError:
        """With what the callbacks tell: the error itself says only that it took too long."""
        try:
            self._glance()
        except EventBusError as known:
            return known
        if isinstance(error, KafkaException) and code_of(error) not in LATE:
            return translate(error, self._options.name)
        return self._trouble.unavailable("no answer")

    # -- topics ------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All topics of the cluster."""
        return list(self._metadata())

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self._patiently(self._list_topics).topics
        return found

    def _list_topics(self, timeout: float) -> Any:
        client = self.client()
        try:
            found = client.list_topics(timeout=timeout)
        except KafkaException as error:
            if code_of(error) == KafkaError._TRANSPORT and self._silence.unanswered():
                self._replace(client)
            raise
        self._silence.answered()
        return found

    def _patiently(self, ask: Callable[..., T]) -> T:
        """Ask again and again for a little, with looks at what the callbacks tell."""
        begun = self._begin()
        while True:
            try:
                found = ask(timeout=PATIENCE)
            except KafkaException as error:
                self._glance(begun)
                late = code_of(error) in LATE
                if not late or self._waited_enough(begun):
                    raise self._translated(error) from None
            else:
                self._trouble.works()
                return found

    def _waited_enough(self, begun: float, most: float = ANSWER_TIMEOUT) -> bool:
        """Where it is known that no broker answers, nobody has to wait for long to hear it."""
        patience = PATIENCE if self._trouble.hopeless else ANSWER_TIMEOUT
        return self._closing or monotonic() - begun >= min(patience, most)

    def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """Those that there are."""
        if not names:
            return {}
        asked = self.client().describe_topics(
            TopicCollection(list(names)), request_timeout=ANSWER_TIMEOUT
        )
        found = {}
        for name, future in asked.items():
            try:
                about = self._wait(future)
            except KafkaException as error:
                if code_of(error) in MISSING:
                    continue
                raise self._translated(error) from None
            except LateError as error:
                raise self._translated(error) from None
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
        (future,) = self.client().create_topics(
            [wanted], request_timeout=ANSWER_TIMEOUT
        ).values()
        try:
            self._wait(future, timeout)
        except (KafkaException, LateError) as error:
            if code_of(error) == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            if code_of(error) == KafkaError.TOPIC_EXCEPTION:
                raise TopologyError(
                    f"{self._options.name}: {error.args[0].str()}: Kafka does not tell '.' and "
                    "'_' apart in names of topics, so rename one of the two event types"
                ) from None
            raise self._translated(error) from None
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
            asked = self.client().incremental_alter_configs(
                [resource], request_timeout=ANSWER_TIMEOUT
            )
            self._answer(next(iter(asked.values())))

    def _config_of(self, resource: Any) -> dict[str, str | None]:
        """Ask until the broker has heard of a topic that was made a moment ago."""
        deadline = monotonic() + PATIENCE
        while True:
            asked = self.client().describe_configs([resource], request_timeout=ANSWER_TIMEOUT)
            try:
                found = self._wait(asked[resource])
            except (KafkaException, LateError) as error:
                if code_of(error) not in MISSING or monotonic() >= deadline:
                    raise self._translated(error) from None
                sleep(SOON)
            else:
                return {name: entry.value for name, entry in found.items()}

    def describe_configs(self, resources: list[Any]) -> list[dict[str, str | None]]:
        asked = self.client().describe_configs(resources, request_timeout=ANSWER_TIMEOUT)
        return [
            {name: entry.value for name, entry in self._answer(future).items()}
            for future in asked.values()
        ]

    def cluster(self) -> Any:
        """Its brokers, and what we may do."""
        return self._answer(self.client().describe_cluster(
            include_authorized_operations=True, request_timeout=ANSWER_TIMEOUT
        ))

    def describe(self, names: Collection[str]) -> dict[str, Any]:
        """All that is known of topics, and what we may do; `None` where we may not know."""
        asked = self.client().describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True,
            request_timeout=ANSWER_TIMEOUT,
        )
        found: dict[str, Any] = {}
        for name, future in asked.items():
            try:
                found[name] = self._answer(future)
            except AuthenticationError:
                found[name] = None
        return found

    # -- offsets -----------------------------------------------------------------------------

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the next event of each partition will be; without those that are gone."""
        return self._offsets(places, OFFSET_END)

    def ends_now(self, places: Iterable[Place]) -> dict[Place, int]:
        """The same of those partitions that have a leader at the moment."""
        led, _ = self._led(places)
        answers = self._ask_offsets(led, OFFSET_END) if led else []
        return {(a.topic, a.partition): a.offset for a in answers if a.error is None}

    def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the oldest event of each partition is that the broker still has."""
        return self._offsets(places, OFFSET_BEGINNING)

    def since(self, places: Iterable[Place], moment: float) -> dict[Place, int]:
        """Where the first event of each partition is that came at a time or later, else -1."""
        return self._offsets(places, int(moment * 1000))

    def _offsets(self, places: Iterable[Place], when: int) -> dict[Place, int]:
        """Ask a consumer that reads nothing, in one question, for partitions that have a leader."""
        left = list(places)
        found: dict[Place, int] = {}
        begun = self._begin()
        while left:
            try:
                led, leaderless = self._led(left)
                for answer in self._ask_offsets(led, when) if led else ():
                    if answer.error is None:
                        found[answer.topic, answer.partition] = answer.offset
                    elif answer.error.code() not in MISSING:
                        raise KafkaException(answer.error)
            except KafkaException as error:
                again = code_of(error) in LEADERLESS or code_of(error) in LATE
                if not again or self._waited_enough(begun):
                    raise self._translated(error) from None
                self._glance(begun)
                leaderless = [place for place in left if place not in found]
            left = leaderless
            if left and self._waited_enough(begun):
                raise self._trouble.unavailable(f"{left[0]} has no leader")
            sleep(SOON if left else 0.0)
        return found

    def _led(self, places: Iterable[Place]) -> tuple[list[Place], list[Place]]:
        """Partitions with a leader, and without; those of topics that are gone are neither."""
        topics = self._metadata()
        led: list[Place] = []
        leaderless: list[Place] = []
        for name, number in places:
            if name in topics:
                about = topics[name].partitions.get(number)
                (led if about is not None and about.leader >= 0 else leaderless).append(
                    (name, number)
                )
        return led, leaderless

    def _ask_offsets(self, places: Iterable[Place], when: int) -> list[TopicPartition]:
        asked = [TopicPartition(*place, when) for place in places]
        with self._lock:
            asker = self._asker
            if asker is None or asker.stranded:
                asker = self._asker = self._make_asker(self._options.reader())
        return asker.offsets(asked, PATIENCE)

    def _make_asker(self, settings: dict[str, Any]) -> Asker:
        return Asker(clients.make(Consumer, settings, self._trouble))

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, TopicPartition]:
        """What a group has committed of partitions, with metadata.

        By a consumer that does not join: the admin client's own question aborts the process when
        the group's broker restarts in the middle of it (librdkafka 2.16).
        """
        asked = [TopicPartition(*place) for place in places]
        found = self._patiently(lambda timeout: self.onlooker(group).committed(asked, timeout))
        return {(p.topic, p.partition): p for p in found if p.error is None and p.offset >= 0}

    def onlooker(self, group: str) -> Asker:
        """Who asks for a group; made early, it has found the group's broker when it is asked."""
        with self._lock:
            asker = self._onlookers.pop(group, None)
            if asker is None or asker.stranded:
                asker = self._make_asker({**self._options.reader(), "group.id": group})
            # The one that was used last is the last to go.
            self._onlookers[group] = asker
            if len(self._onlookers) > ONLOOKERS:
                del self._onlookers[next(iter(self._onlookers))]
            return asker

    def state(self, group: str) -> str:
        """State of a group and its number of members, for people."""
        asked = self.client().describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT)
        about = self._answer(asked[group])
        return f"{about.state.name.lower()}, {len(about.members)} members"

    def delete_group(self, group: str) -> None:
        """Delete an empty group, if it can be: what it has committed is not believed anyway."""
        asked = self.client().delete_consumer_groups([group], request_timeout=ANSWER_TIMEOUT)
        try:
            self._wait(asked[group])
        except (KafkaException, LateError):
            return

    def delete_topics(self, names: Collection[str]) -> None:
        if not names:
            return
        asked = self.client().delete_topics(list(names), request_timeout=ANSWER_TIMEOUT)
        for future in asked.values():
            try:
                self._wait(future)
            except (KafkaException, LateError) as error:
                if code_of(error) not in MISSING:
                    raise self._translated(error) from None

    def delete_records(self, upto: Mapping[Place, int]) -> None:
        """Let the broker remove what lies below these offsets; does not wait for it."""
        if upto:
            self.client().delete_records(
                [TopicPartition(*place, offset) for place, offset in upto.items()],
                request_timeout=ANSWER_TIMEOUT,
            )

    # -- life --------------------------------------------------------------------------------

    def give_up(self) -> None:
        """Whoever waits for an answer hears within a second that there is none."""
        self._closing = True

    def reset(self) -> AdminClient | None:
        """Forget the client; the next question makes another one."""
        with self._lock:
            client, self._client, self._asker = self._client, None, None
            self._onlookers, self._replaced = {}, []
        return client

"""Births of durable subscriptions: records of one compacted topic, of which the first counts.

A birth names where each topic ended when it was written. It is one record in one partition, so the
broker decides which of two first members was first, and both read the same decision. From then on
the subscription lives; no member needs to have a partition for that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from datetime import datetime, timezone
from threading import Condition, Thread
from time import monotonic
from uuid import uuid4

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ...errors import EventBusError, TransportError, TransportUnavailable
from ..base import SubscriptionId
from . import clients, names, progress
from .admin import Admin
from .catalogue import Catalogue
from .errors import MISSING, UNSTORED
from .options import ANSWER_TIMEOUT, Options
from .producing import Outgoing, Producing
from .progress import Progress
from .standstill import Standstill
from .topics import Topic
from .trouble import Trouble

logger = logging.getLogger("eventbus.transport.kafka")

#: Seconds between two looks at all topics: for those that others have made, or made again.
REFRESH = 5.0
#: Seconds that the thread waits for a record at once, and until it tries again what has failed.
SLICE, AGAIN = 0.05, 0.5
#: Seconds of waiting in vain for records that are there, after which the client is given up.
STALLED = 2.0
#: Seconds for the thread to end: it may wait for an answer, for at most one.
FAREWELL = 1.5

PLACE = (names.REGISTRY, 0)


class Birth(msgspec.Struct):
    """Where a subscription began.

    Attributes:
        key: of its record.
        pins: for each topic there was its id and the offsets to begin at; all others are read
            from their start.
    """

    key: str
    created_at: datetime
    pins: dict[str, tuple[str, list[int]]] = {}

    def begin(self, topic: str, about: Topic | None, partition: int) -> int:
        """The first offset to read of a partition."""
        id, offsets = self.pins.get(topic, ("", []))
        if about is None or about.id != id or partition >= len(offsets):
            return 0
        return offsets[partition]


_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(Birth).decode


class Registry:
    """Follows the topic in a thread of its own, which also looks for new topics."""

    def __init__(
        self, options: Options, admin: Admin, producing: Producing, catalogue: Catalogue
    ) -> None:
        self._options = options
        self._admin = admin
        self._producing = producing
        self._catalogue = catalogue
        self._changed = Condition()
        self._births: dict[SubscriptionId, dict[str, Birth]] = {}
        #: What is being read: the same, once the end was reached.
        self._reading = self._births
        #: What was settled and could not be committed, by the key of its record.
        self.progress: dict[str, Progress | None] = {}
        self._position = 0
        self._end = 0
        #: Somebody waits for what is before.
        self._sought = 0
        self._standstill = Standstill(STALLED)
        self._topic: Topic | None = None
        self._made = False
        self._thread: Thread | None = None
        self._stopping = False
        self._looked_at = self._look_at = 0.0
        #: Called by the thread after each look at all topics.
        self.watchers: set[Callable[[], None]] = set()
        self._error: EventBusError | None = None
        #: All that there was at the beginning was read.
        self.read = False

    @property
    def error(self) -> EventBusError | None:
        """Why it cannot be followed.

        Another object each time: one that was raised holds the frames it went through, and with
        them a client that was to be closed.
        """
        return copy(self._error)

    # -- any thread ------------------------------------------------------------------------

    def find(self, id: SubscriptionId) -> Birth | None:
        """The birth of a subscription, as far as it was read."""
        with self._changed:
            return next(iter(self._births.get(id, {}).values()), None)

    def all(self) -> dict[SubscriptionId, Birth]:
        """All subscriptions, read up to now."""
        self.sync()
        with self._changed:
            return {id: next(iter(found.values())) for id, found in self._births.items() if found}

    def sync(self) -> None:
        """Read what was written until now."""
        self._start()
        end = self._admin.offsets.ends([PLACE]).get(PLACE)
        if end is None:
            self._catalogue.ensure_table(names.REGISTRY)
            end = 0
        self._wait_for(end)

    def add(self, id: SubscriptionId, pins: dict[str, tuple[str, list[int]]]) -> bool:
        """Write a birth; `False` if somebody else's is the one that counts."""
        key = names.birth(id, uuid4().hex)
        self._write(key, _pack(Birth(key, datetime.now(timezone.utc), pins)))
        birth = self.find(id)
        if birth is not None and birth.key == key:
            return True
        self._write(key, None)
        return False

    def remove(self, id: SubscriptionId) -> bool:
        """End a subscription; `False` if there was none."""
        self.sync()
        with self._changed:
            keys = list(self._births.get(id, ()))
        for key in keys:
            self._write(key, None)
        return bool(keys)

    def keep(self, records: dict[str, Progress], seconds: float) -> None:
        """Write down what is settled and cannot be committed now."""
        self._make()
        messages = [
            Outgoing(names.REGISTRY, progress.pack(item), key, partition=0)
            for key, item in records.items()
        ]
        self._producing.store(messages, seconds)

    def hint(self, topic: str, deadline: float | None = None) -> None:
        """Let all members know of a new topic, at once."""
        left = ANSWER_TIMEOUT if deadline is None else max(0.0, deadline - monotonic())
        try:
            self._send(names.hint(topic), b"{}", left)
        except TransportError as error:
            logger.debug("%s is found by the next look only: %s", topic, error)

    def _write(self, key: str, value: bytes | None) -> None:
        self._wait_for(self._send(key, value) + 1)

    def _send(self, key: str, value: bytes | None, timeout: float = ANSWER_TIMEOUT) -> int:
        message = Outgoing(names.REGISTRY, value, key, partition=0)
        self._make()
        batch = self._producing.send([message], timeout)
        if batch.errors and next(iter(batch.errors.values())).code() in UNSTORED:
            self._catalogue.ensure_table(names.REGISTRY)
        elif not batch.errors and not batch.left:
            return batch.offset
        return self._producing.store([message], timeout)

    def _wait_for(self, position: int) -> None:
        deadline = monotonic() + ANSWER_TIMEOUT
        with self._changed:
            self._sought = max(self._sought, position)
            while self._position < position:
                error = self.error
                if error is not None and not isinstance(error, TransportUnavailable):
                    raise error
                left = deadline - monotonic()
                if left <= 0 or self._stopping:
                    raise TransportUnavailable(
                        f"{self._options.name}: the subscriptions could not be read in time"
                    )
                self._changed.wait(left)

    def start(self) -> None:
        """Begin to follow what others write."""
        self._start()

    def look_soon(self) -> None:
        """Somebody wants to know whether brokers answer again."""
        self._look_at = min(self._look_at, self._looked_at + AGAIN)

    # -- its thread --------------------------------------------------------------------------

    def _start(self) -> None:
        with self._changed:
            if self._thread is not None:
                return
            self._producing.warm_up()
            self._make()
            self._thread = Thread(
                target=self._main, name=f"eventbus-kafka-registry-{id(self):x}", daemon=True
            )
            self._thread.start()

    def _make(self) -> None:
        if not self._made:
            # Before anything is written: a broker that makes topics by itself makes others.
            self._catalogue.ensure_table(names.REGISTRY)
            self._made = True

    def _main(self) -> None:
        while not self._stopping:
            try:
                self._follow()
            except Exception as error:
                known = isinstance(error, EventBusError)
                self._error = copy(error) if known else TransportUnavailable(str(error))  # type: ignore[assignment]
                logger.debug("the registry cannot be followed: %s", error)
            with self._changed:
                self._changed.notify_all()
                if not self._stopping:
                    self._changed.wait(AGAIN)

    def _follow(self) -> None:
        trouble = Trouble(self._options.name)
        consumer = clients.make(Consumer, self._options.follower(), trouble, polled=True)
        try:
            consumer.assign([TopicPartition(names.REGISTRY, 0, 0)])
            self._begin()
            while not self._stopping:
                for message in self._next(consumer):
                    trouble.works()
                    self._apply(message)
                trouble.check()
                self._look_if_due()
                self._notice_a_standstill()
        finally:
            consumer.close()

    def _begin(self) -> None:
        """From the start; what was read before counts until everything was read again."""
        self._catalogue.ensure_table(names.REGISTRY)
        self._topic = self._catalogue.look().get(names.REGISTRY)
        end = self._admin.offsets.ends([PLACE]).get(PLACE)
        if self._topic is None or end is None:
            raise TransportUnavailable(f"{names.REGISTRY} is not there yet")
        with self._changed:
            self._reading, self._position, self._end, self._sought = {}, 0, end, end
            self._caught_up()
            self._standstill = Standstill(STALLED)

    def _notice_a_standstill(self) -> None:
        self._standstill.compare({PLACE: self._position}, {PLACE: self._sought})
        if self._standstill.found:
            raise TransportUnavailable(f"{names.REGISTRY}: its reader stands still")

    def _caught_up(self) -> None:
        if self._position >= self._end:
            self._births = self._reading
            self.read = True

    def _next(self, consumer: Consumer) -> list[Message]:
        first = consumer.poll(SLICE)
        if first is None:
            self._standstill.dry += SLICE
            return []
        return [first, *consumer.consume(500, 0)]

    def _look_if_due(self) -> None:
        if monotonic() < self._look_at:
            return
        self._looked_at = monotonic()
        self._look_at = self._looked_at + REFRESH
        self._producing.idle()
        try:
            topic = self._catalogue.look().get(names.REGISTRY)
            self._error = None
        except EventBusError as error:
            self._error = copy(error)
            self._look_at = monotonic() + AGAIN
            return
        if topic != self._topic:
            raise TransportUnavailable(f"{names.REGISTRY} was deleted")
        for watch in list(self.watchers):
            watch()

    def _apply(self, message: Message) -> None:
        offset = message.offset() or 0
        if (problem := message.error()) is not None:
            if problem.code() != KafkaError._PARTITION_EOF:
                if problem.code() in MISSING:
                    self._catalogue.ensure_table(names.REGISTRY)
                raise KafkaException(problem)
            # Past what is at the end and no record, too: compaction and transactions leave that.
            self._move(max(self._position, offset))
            return
        key = (message.key() or b"").decode("utf-8", "replace")
        with self._changed:
            if offset < self._position:
                self._reading.clear()  # Another topic of the same name.
            self._change(key, message.value())
            self._move(offset + 1)
        # A topic that is known may have been made again, unless that is old news.
        fresh = offset >= self._end or key[6:] not in self._catalogue.topics
        if key.startswith("topic|") and fresh:
            self._look_at = 0.0

    def _move(self, position: int) -> None:
        with self._changed:
            self._position = position
            self._caught_up()
            self._changed.notify_all()

    def _change(self, key: str, value: bytes | None) -> None:
        if key.startswith("done|"):
            self.progress[key] = progress.unpack(value or b"")
            return
        kind, _, rest = key.partition("|")
        group, _, rest = rest.partition("|")
        pattern, _, unique = rest.rpartition("|")
        if kind != "birth" or not unique:
            return
        births = self._reading.setdefault(SubscriptionId(group, pattern), {})
        if value is None:
            births.pop(key, None)
            return
        try:
            births.setdefault(key, _unpack(value))
        except msgspec.MsgspecError:
            logger.warning("a record of %s is none of ours: %s", names.REGISTRY, key)

    # -- life --------------------------------------------------------------------------------

    def close(self) -> None:
        """Let the thread end; it takes its client with it."""
        with self._changed:
            self._stopping = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(FAREWELL)

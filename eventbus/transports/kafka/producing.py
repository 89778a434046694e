"""Writing messages and waiting until all in-sync copies have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ...errors import TransportError, TransportUnavailable
from . import clients
from .errors import INFERRED, code_of, translate
from .frames import Headers
from .options import Options
from .stranding import Silence
from .trouble import Trouble

#: Seconds between two looks at the deadline while waiting for confirmations.
SLICE = 0.1
#: Seconds without a confirmation, after which the client is asked whether it finds a broker.
QUIET = 0.5


class Outgoing(NamedTuple):
    """A message to be written."""

    topic: str
    value: bytes | None
    key: str | None = None
    headers: Headers | None = None
    partition: int = -1


class Batch:
    """What became of the messages of one call."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.errors: dict[int, KafkaError] = {}
        self.unsent: set[int] = set(range(size))
        self.offset = -1

    @property
    def never_sent(self) -> bool:
        """Whether all of it was taken back from the client's own queue."""
        codes = {error.code() for error in self.errors.values()}
        return not self.left and codes == {KafkaError._PURGE_QUEUE} and self.offset < 0

    def told(self, number: int, error: KafkaError | None, message: Message) -> None:
        """Called by the client; must not raise.

        From the confirmation of a later message the client infers that the earlier ones of its
        partition are stored too, and calls them so, without an offset (`rd_kafka_dr_implicit_ack`,
        librdkafka 2.16). They are not if the topic was deleted and made again in between.
        """
        self.left -= 1
        self.unsent.discard(number)
        if error is None:
            offset = message.offset()
            if offset is not None:
                self.offset = offset
                return
            error = INFERRED
        self.errors[number] = error


class Producing:
    """One client for all that is written; one thread at a time uses it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = Lock()
        self._producer: Producer | None = None
        self._trouble = Trouble(options.name)
        self._silence = Silence(options.config.brokers or ())

    def warm_up(self) -> None:
        """Let the client connect and get its id while others things are asked."""
        if self._producer is None and self._lock.acquire(blocking=False):
            try:
                self._client()
            finally:
                self._lock.release()

    def idle(self) -> None:
        """Take in what the client has to tell while nobody writes: it would pile up."""
        if self._producer is None or not self._lock.acquire(blocking=False):
            return
        try:
            self._take_in()
        finally:
            self._lock.release()

    def _take_in(self) -> Producer:
        """The client, with all that it has to tell."""
        producer = self._client()
        while producer.poll(0):
            continue
        return producer

    def _client(self) -> Producer:
        if self._producer is None:
            self._trouble = Trouble(self._options.name)
            self._silence.answered()
            self._producer = clients.make(Producer, self._options.producer(), self._trouble)
        return self._producer

    def send(self, messages: Sequence[Outgoing], timeout: float) -> Batch:
        """Write messages in order; the batch tells which of them are stored when it returns."""
        deadline = monotonic() + timeout
        if not self._lock.acquire(timeout=max(0.001, timeout)):
            raise TransportUnavailable(f"{self._options.name}: another thread still writes")
        try:
            batch = self._attempt(messages, deadline)
            while batch.never_sent and monotonic() < deadline:
                batch = self._attempt(messages, deadline)
        finally:
            self._lock.release()
        if batch.left < len(messages) - len(batch.errors):
            self._trouble.works()
        return batch

    def _attempt(self, messages: Sequence[Outgoing], deadline: float) -> Batch:
        begun = quiet = monotonic()
        batch = Batch(len(messages))
        producer = self._take_in()
        for number, message in enumerate(messages):
            self._produce(producer, message, partial(batch.told, number), deadline)
        while batch.left and (now := monotonic()) < deadline:
            if producer.poll(min(SLICE, deadline - now)):
                quiet = now
            self._check(begun, batch)
            if batch.left and now - quiet >= QUIET:
                quiet = now
                if self._stranded(producer, messages[0].topic):
                    self._drop()
                    break
        return batch

    def _stranded(self, producer: Producer, topic: str) -> bool:
        """Whether it finds no broker; the topic is one that it asks for anyway.

        A broker may make each topic that a producer asks for.
        """
        try:
            producer.list_topics(topic, timeout=SLICE)
        except KafkaException as error:
            if code_of(error) == KafkaError._TRANSPORT:
                return self._silence.unanswered()
        self._silence.answered()
        return False

    def _check(self, begun: float, batch: Batch) -> None:
        try:
            self._trouble.check(begun)
        except TransportError as error:
            # What was on its way by then may have arrived.
            self._drop()
            error.outcome = "failed" if batch.never_sent else "unknown"
            raise

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def _produce(self, producer: Producer, message: Outgoing, told: Any, deadline: float) -> None:
        topic, value, key, headers, partition = message
        while True:
            try:
                producer.produce(
                    topic, value, key, partition, headers=headers, on_delivery=told
                )
            except BufferError:
                if monotonic() >= deadline:
                    raise self._trouble.unavailable("the client's queue is full") from None
                producer.poll(SLICE)
            except KafkaException as error:
                told(error.args[0], None)
                return
            else:
                return

    def store(self, messages: Sequence[Outgoing], timeout: float) -> int:
        """Write all of them or raise; the last one's offset."""
        batch = self.send(messages, timeout)
        if batch.errors or batch.left:
            raise self.failed(batch)
        return batch.offset

    def failed(self, batch: Batch) -> TransportError:
        """What to raise for a batch of which not all is stored."""
        for error in batch.errors.values():
            return translate(error, self._options.name, "unknown")
        return self.late()

    def late(self) -> TransportUnavailable:
        """Not confirmed in time."""
        error = self._trouble.unavailable("no confirmation in time")
        error.outcome = "unknown"
        return error

    def close(self) -> None:
        """Does not wait for brokers: whoever published has waited already."""
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            self._drop()
        finally:
            self._lock.release()

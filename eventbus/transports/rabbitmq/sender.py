"""Publishing with confirms, any number of messages on one wait."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from time import monotonic

from pika import frame, spec

from .connection import ANSWER_TIMEOUT, Connection
from .errors import alarm, lost
from .frames import Outgoing, read_properties

_HEAD = Struct(">BHI")
_CONTENT = Struct(">HHQ")
_END = b"\xce"
#: Publish frames that are remembered: a service has few topics.
REMEMBERED = 1_000


class Batch:
    """Messages on their way: what became of each of them."""

    __slots__ = ("first", "left", "messages", "refused", "returned", "stored")

    def __init__(self, messages: Sequence[Outgoing], first: int) -> None:
        self.messages = messages
        self.first = first
        self.left = len(messages)
        self.stored = bytearray(len(messages))
        #: The server says that it could not store it (everywhere).
        self.refused = False
        #: Ids of messages for which there was no queue.
        self.returned: set[str] = set()

    @property
    def confirmed(self) -> bool:
        """Whether the server has said of all of them that it has them."""
        return not self.left and not self.refused

    def prefix(self) -> int:
        """How many, counted from the first, are certainly stored."""
        for index, stored in enumerate(self.stored):
            if not stored or self.messages[index].id in self.returned:
                return index
        return len(self.stored)


class Sender:
    """Publishes on a connection; it has a channel of its own there."""

    def __init__(self, connection: Connection, timeout: float = ANSWER_TIMEOUT) -> None:
        self.connection = connection
        self._channel = connection.channel(timeout)
        self._channel.call(spec.Confirm.Select(), timeout=timeout)
        self._channel.on_confirm = self._confirmed
        self._channel.on_return = self._returned
        self._next = 1
        #: Batches by the tag of each message that is not confirmed yet.
        self._waiting: dict[int, Batch] = {}
        self._batches: list[Batch] = []
        self._frames: dict[tuple[str, str], bytes] = {}

    @property
    def usable(self) -> bool:
        return self.connection.usable and self._channel.error is None

    @property
    def outstanding(self) -> int:
        """How many messages are not confirmed."""
        return len(self._waiting)

    def wait_unblocked(self, deadline: float) -> None:
        """Wait for the end of an alarm.

        Raises:
            Alarm: it did not end by `deadline`; nothing was sent.
        """
        self.connection.pump(0.0)
        while self.connection.blocked is not None:
            left = deadline - monotonic()
            if left <= 0:
                raise alarm(self.connection.name, self.connection.blocked)
            self.connection.pump(left)

    def post(self, messages: Sequence[Outgoing]) -> Batch:
        """Queue messages; `wait` or `settled` tells what became of them."""
        self._channel.check()
        batch = Batch(messages, self._next)
        self._batches.append(batch)
        number, largest = self._channel.number, self.connection.frame_max - 8
        for message in messages:
            self._waiting[self._next] = batch
            self._next += 1
            properties, body = message.properties, message.body
            header = _CONTENT.pack(spec.Basic.INDEX, 0, len(body)) + properties
            pieces = [
                self._publish_frame(message.exchange, message.key),
                _HEAD.pack(spec.FRAME_HEADER, number, len(header)), header, _END,
            ]
            for start in range(0, len(body), largest):
                part = body[start : start + largest]
                pieces += (_HEAD.pack(spec.FRAME_BODY, number, len(part)), part, _END)
            self.connection.write(*pieces)
        return batch

    def _publish_frame(self, exchange: str, key: str) -> bytes:
        found = self._frames.get((exchange, key))
        if found is None:
            if len(self._frames) >= REMEMBERED:
                self._frames.clear()
            method = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
            found = frame.Method(self._channel.number, method).marshal()
            self._frames[exchange, key] = found
        return found

    def wait(self, batch: Batch, deadline: float) -> None:
        """Wait until all of it is confirmed.

        Raises:
            TransportError: not all of it; `batch` tells what is.
        """
        self.connection.flush(deadline)
        while not self.settled(batch):
            left = deadline - monotonic()
            if left > 0:
                self.connection.pump(left)
            elif self.connection.blocked is not None:
                raise alarm(self.connection.name, self.connection.blocked, "unknown")
            else:
                raise self.connection.fail(
                    lost(self.connection.name, "the server has not confirmed in time")
                )

    def settled(self, batch: Batch) -> bool:
        """Whether all is confirmed.

        Raises:
            TransportError: the server refused some of it, or the connection is gone.
        """
        if batch.left:
            self._channel.check()
            return False
        if batch.refused:
            raise lost(self.connection.name, "the server could not store it (basic.nack)")
        return True

    def _confirmed(self, tag: int, multiple: bool, stored: bool) -> None:
        if not multiple:
            self._settle(tag, stored)
            return
        while self._waiting and (first := next(iter(self._waiting))) <= tag:
            self._settle(first, stored)

    def _settle(self, tag: int, stored: bool) -> None:
        batch = self._waiting.pop(tag, None)
        if batch is None:
            return
        batch.left -= 1
        if not batch.left:
            self._batches.remove(batch)
        if stored:
            batch.stored[tag - batch.first] = 1
        else:
            batch.refused = True

    def _returned(self, properties: bytes) -> None:
        id, _ = read_properties(properties)
        for batch in self._batches:
            batch.returned.add(id)

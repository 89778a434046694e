"""Queues that are read like a file: one reader at a time sees everything and takes what it likes.

The server lets one consumer at a time have the messages ("single active consumer"), so being
served is a lock that ends with the connection. A message of our own tells where the end is: the
server answers no question that would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import Any
from uuid import uuid4

from pika import spec

from ...errors import TransportUnavailable
from . import names
from .channel import Channel, Message
from .errors import alarm, lost
from .frames import Outgoing, properties, read_properties
from .sender import Sender

PING = "eventbus-ping-"
#: Seconds after which a ping is one of a process that has died.
FORGOTTEN = 60.0
#: Seconds to wait for other readers.
PATIENCE = 5.0


class Reader:
    """Alone with a queue until the block of `reading` ends; what it does not ack stays there."""

    def __init__(
        self, sender: Sender, queue: str, channel: Channel, patience: float
    ) -> None:
        self._patience = patience
        self._sender = sender
        self._queue = queue
        self._channel = channel
        self._came: deque[Message] = deque()
        self._name = PING + uuid4().hex
        self._pings = 0
        channel.on_message = self._came.append
        channel.call(spec.Basic.Consume(queue=queue, consumer_tag="reader"))

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Id and message of all there were when our turn came, oldest first.

        Raises:
            TransportUnavailable: our turn did not come in time.
        """
        self._ping()
        self._wait(monotonic() + self._patience)
        # Only now: what others changed before their turn ended lies before this one.
        end = self._ping()
        while True:
            self._wait(monotonic() + self._patience)
            message = self._came.popleft()
            id, _ = read_properties(message.properties)
            if id == end:
                self.ack(message)
                return
            if not id.startswith(PING):
                yield id, message
            elif _age(message) > FORGOTTEN or id.startswith(self._name):
                self.ack(message)

    def ack(self, message: Message) -> None:
        """Remove a message."""
        self._channel.ack(message.tag, False)

    def _wait(self, deadline: float) -> None:
        while not self._came:
            left = deadline - monotonic()
            if left <= 0:
                raise self._too_late()
            self._channel.check()
            self._sender.connection.pump(left)

    def _too_late(self) -> TransportUnavailable:
        connection = self._sender.connection
        if connection.blocked is not None:
            return alarm(connection.name, connection.blocked)
        return lost(connection.name, f"another process still reads {self._queue}", "failed")

    def _ping(self) -> str:
        self._pings += 1
        name = f"{self._name}-{self._pings}"
        body = str(time()).encode()
        self._sender.post([Outgoing("", self._queue, name, properties(name), body)])
        return name


@contextmanager
def reading(
    sender: Sender, queue: str, arguments: dict[str, Any] | None = None, *,
    timeout: float = PATIENCE,
) -> Iterator[Reader]:
    """Wait for our turn with a queue.

    Args:
        sender: whose connection to use.
        arguments: to make the queue where it is missing.
        timeout: seconds to wait for each answer, other readers included.

    Raises:
        Missing: there is no such queue, and no arguments to make it.
    """
    sender.wait_unblocked(monotonic() + timeout)
    channel = sender.connection.channel(timeout)
    try:
        if arguments is None:
            channel.call(names.look_at_queue(queue), timeout=timeout)
        else:
            channel.call(names.declare_queue(queue, arguments), timeout=timeout)
        yield Reader(sender, queue, channel, timeout)
    finally:
        channel.on_message = _ignore
        if sender.connection.blocked is not None:
            sender.connection.close(0.0)  # It would not answer.
        elif channel.error is None and sender.connection.usable:
            # Everything that was not acked goes back, and the next reader has its turn.
            channel.close()


def publish(sender: Sender, messages: list[Outgoing], timeout: float = PATIENCE) -> None:
    """Store messages and wait for the confirm.

    Raises:
        TransportUnavailable: not stored, or there is no queue for one of them.
    """
    batch = sender.post(messages)
    sender.wait(batch, monotonic() + timeout)
    if batch.returned:
        raise lost(sender.connection.name, "a queue of ours has vanished", "failed")


_ignore: Callable[[Message], None] = lambda _: None  # noqa: E731


def _age(message: Message) -> float:
    try:
        return time() - float(message.body)
    except ValueError:
        return FORGOTTEN + 1.0

"""One AMQP connection, driven by the thread that uses it: no loop, no callbacks, only deadlines.

The client's codec writes and reads the methods. Its own adapters are left out: they start a thread
to resolve names, wait without limit for a close, and allow one unconfirmed message at a time.
"""

from __future__ import annotations

import selectors
import socket
import ssl
from collections import deque
from contextlib import suppress
from struct import Struct
from time import monotonic
from typing import Any

from pika import frame, spec

from ...errors import TransportError, TransportUnavailable
from .channel import Channel
from .errors import lost, translate

_HEAD = Struct(">BHI")
_METHOD = Struct(">I")
_END = 0xCE
#: Bytes read at once: enough for hundreds of small events.
READ = 1 << 18
#: Reads in a row: what comes faster than it is dealt with stays with the server.
READS = 8
#: Bytes joined into one write: more would only be copied more often.
WRITE = 1 << 18
#: Seconds for an answer where the caller names no time.
ANSWER_TIMEOUT = 5.0
#: The same for consumers: a server that pauses for so long costs no connection, and no repetition.
PATIENCE = 8.0

READ_EVENT, WRITE_EVENT = selectors.EVENT_READ, selectors.EVENT_WRITE
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_DATA = b""


class Connection:
    """An open socket and the channels on it, for one thread at a time.

    Args:
        sock: connected.
        name: how error texts call the server.
    """

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        self.name = name
        #: Why the server takes no messages now, if it does not.
        self.blocked: str | None = None
        self.server: dict[str, Any] = {}
        self.frame_max = 131_072
        self.heartbeat = 0.0
        self.received_at = monotonic()
        self.answers: list[Any] = []
        self._sent_at = self.received_at
        self._sock = sock
        self._channels: dict[int, Channel] = {}
        self._out: deque[bytes] = deque()
        self._rest = _NO_DATA
        self._error: TransportError | None = None
        # Not epoll: a forked child would share it.
        self._selector = getattr(selectors, "PollSelector", selectors.SelectSelector)()
        self._selector.register(sock, READ_EVENT)
        # For a thread that only waits while others write.
        self._watcher = type(self._selector)()
        self._watcher.register(sock, READ_EVENT)
        self._bell: socket.socket | None = None

    def channel(self, timeout: float = ANSWER_TIMEOUT) -> Channel:
        """Open another channel."""
        number = next(n for n in range(1, 65_536) if n not in self._channels)
        made = self._channels[number] = Channel(self, number)
        made.call(spec.Channel.Open(), timeout=timeout)
        return made

    def wake_by(self, bell: socket.socket) -> None:
        """Let something to read at another socket end a wait in `pump`."""
        self._bell = bell
        self._selector.register(bell, READ_EVENT)

    @property
    def usable(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self._error is None

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    # -- writing -----------------------------------------------------------------------------

    def write(self, *frames: bytes) -> None:
        """Queue frames; the next `flush` or `pump` sends them."""
        self._out += frames

    def write_method(self, number: int, method: Any) -> None:
        self._out.append(frame.Method(number, method).marshal())

    def flush(self, deadline: float) -> None:
        """Send what is queued; reads meanwhile, so that two full sides never wait for each other.

        Raises:
            TransportUnavailable: not done by `deadline`; the connection is of no use any more.
        """
        while self._out:
            self.check()
            data = self._next_write()
            sent = self._send(data)
            if sent < len(data):
                self._out.appendleft(bytes(data[sent:]))
                if not self._wait(deadline - monotonic(), READ_EVENT | WRITE_EVENT):
                    raise self.fail(lost(self.name, "the server does not read what is sent"))
                self._read()

    def _next_write(self) -> memoryview:
        """Some of what is queued."""
        pieces = [self._out.popleft()]
        size = len(pieces[0])
        while self._out and size < WRITE:
            pieces.append(self._out.popleft())
            size += len(pieces[-1])
        return memoryview(b"".join(pieces))

    def _send(self, data: memoryview) -> int:
        try:
            sent = self._sock.send(data)
        except _WOULD_BLOCK:
            return 0
        except OSError as error:
            raise self.fail(lost(self.name, error)) from error
        self._sent_at = monotonic()
        return sent

    # -- reading -----------------------------------------------------------------------------

    def pump(self, timeout: float) -> bool:
        """Send what is queued, wait up to `timeout` seconds for something to read, and take it in.

        Returns:
            Whether the wait was ended through the socket of `wake_by`.

        Raises:
            TransportError: the connection is lost, or the server has ended it.
        """
        self.check()
        if self._out:
            self.flush(monotonic() + PATIENCE)
        woken = False
        if not self._pending():
            woken = self._bell in self._wait(min(timeout, self._beat()), READ_EVENT)
        for _ in range(READS):
            if not self._read():
                break
        self._beat()
        return woken

    def wait_readable(self, seconds: float) -> None:
        """Wait for something to read; may be called beside any other method, by one thread."""
        if self._error is None and not self._pending():
            self._watcher.select(seconds)

    def _pending(self) -> bool:
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _wait(self, seconds: float, events: int) -> list[Any]:
        """The sockets that are ready; none when the time is over."""
        if events != READ_EVENT:
            self._selector.modify(self._sock, events)
        try:
            return [key.fileobj for key, _ in self._selector.select(max(0.0, seconds))]
        finally:
            if events != READ_EVENT:
                self._selector.modify(self._sock, READ_EVENT)

    def _read(self) -> bool:
        """Take in what is there; `False` when there is no more."""
        try:
            data = self._sock.recv(READ)
        except _WOULD_BLOCK:
            return False
        except OSError as error:
            raise self.fail(lost(self.name, error)) from error
        if not data:
            raise self.fail(lost(self.name, "the server has closed the connection"))
        self.received_at = monotonic()
        self._take(self._rest + data if self._rest else data)
        return len(data) == READ

    def _take(self, data: bytes) -> None:
        position, size = 0, len(data)
        while size - position >= 8:
            kind, number, length = _HEAD.unpack_from(data, position)
            end = position + 7 + length
            if end >= size and length <= self.frame_max:
                break
            if length > self.frame_max or data[end] != _END:
                raise self.fail(lost(self.name, "what the server sent is no AMQP frame"))
            self._dispatch(kind, number, data[position + 7 : end])
            position = end + 1
        self._rest = data[position:]

    def _dispatch(self, kind: int, number: int, payload: bytes) -> None:
        if number:
            if (channel := self._channels.get(number)) is not None:
                channel.take(kind, payload)
        elif kind == spec.FRAME_METHOD:
            self._method(decode(payload))

    def _method(self, method: Any) -> None:
        if isinstance(method, spec.Connection.Close):
            self.write_method(0, spec.Connection.CloseOk())
            with suppress(OSError):  # Perhaps it does not wait for that; why it goes it has said.
                self._sock.send(b"".join(self._out))
            raise self.fail(translate(method.reply_code, method.reply_text, self.name))
        if isinstance(method, spec.Connection.Blocked):
            self.blocked = str(method.reason)
        elif isinstance(method, spec.Connection.Unblocked):
            self.blocked = None
        else:
            self.answers.append(method)

    def answer(self, deadline: float) -> Any:
        """The next method about the connection itself."""
        while not self.answers:
            self.pump_until(deadline)
        return self.answers.pop(0)

    def pump_until(self, deadline: float) -> None:
        """As `pump`, where something has to come before the deadline.

        What is there already has come in time: this process may have stood still, not the server.
        """
        left, before = deadline - monotonic(), self.received_at
        self.pump(max(0.0, left))
        if left <= 0 and self.received_at == before:
            raise self.fail(lost(self.name, "no answer of the server in time"))

    def _beat(self) -> float:
        """Seconds until the next heartbeat; sends one that is due."""
        if not self.heartbeat:
            return 3_600.0
        now = monotonic()
        if now - self._sent_at >= self.heartbeat / 2:
            self._sent_at = now
            self._send(memoryview(frame.Heartbeat().marshal()))
        return max(0.0, self._sent_at + self.heartbeat / 2 - now)

    # -- the end -----------------------------------------------------------------------------

    def remove(self, number: int) -> None:
        """Forget a closed channel."""
        self._channels.pop(number, None)

    def fail(self, error: TransportError) -> TransportError:
        """Note why the connection is of no use any more, and let go of the socket."""
        if self._error is None:
            self._error = error
            self._selector.close()
            self._watcher.close()
            self._sock.close()
        return error

    def close(self, timeout: float) -> None:
        """Say good-bye, so that all that was sent counts; never raises, waits up to `timeout`."""
        if self._error is not None:
            return
        deadline = monotonic() + timeout
        try:
            self.write_method(0, spec.Connection.Close(200, "closed", 0, 0))
            self.flush(deadline)
            while not isinstance(self.answer(deadline), spec.Connection.CloseOk):
                continue
        except TransportError:
            pass
        finally:
            self.fail(TransportUnavailable(f"{self.name}: the connection was closed"))


def decode(payload: bytes) -> Any:
    """A method frame as the client's object."""
    kind = spec.methods[_METHOD.unpack_from(payload)[0]]
    return kind().decode(payload, 4)

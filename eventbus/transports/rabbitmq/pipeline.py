"""Publishing from many threads over one connection, none of which waits for another's confirm.

Whoever has something to send writes it. One of those that wait reads for all of them; when it has
its own confirm, it leaves the reading to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic

from ...errors import TransportError, TransportUnavailable
from .errors import alarm, lost
from .frames import Outgoing
from .lanes import GOODBYE, NOD, inherit
from .link import Connector
from .sender import Batch, Sender

#: Seconds after which a reading thread looks whether another one has read its confirm.
SLICE = 0.05


class Waiter:
    """A thread that waits for its condition, or for its turn to read."""

    __slots__ = ("done", "turn")

    def __init__(self, done: Callable[[], bool]) -> None:
        self.done = done
        self.turn = Lock()
        self.turn.acquire()


class Pipeline:
    """One connection for all that publish; made when it is first needed."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._lock = Lock()
        self._sender: Sender | None = None
        self._reading = False
        self._waiters: list[Waiter] = []

    def send(self, messages: Sequence[Outgoing], deadline: float) -> Batch:
        """Send messages, and return when they are confirmed.

        Raises:
            NotConfirmed: not all of them are in time; it tells which ones are.
            TransportError: nothing was sent.
        """
        sender = self._ready(deadline)
        with self._locked(deadline):
            batch = sender.post(messages)
            try:
                sender.connection.flush(deadline)
            except TransportError as error:
                self._wake_all()
                raise NotConfirmed(error, batch, sender.outstanding) from error
            self._wake_done()
        try:
            self._until(sender, lambda: sender.settled(batch), deadline)
        except TransportError as error:
            # The last confirm may have come with the news that the connection ends.
            if not batch.confirmed:
                raise NotConfirmed(error, batch, sender.outstanding) from error
        return batch

    def _ready(self, deadline: float) -> Sender:
        """A connection that takes messages; waits for the end of an alarm."""
        with self._locked(deadline):
            sender = self._usable(deadline)
        connection = sender.connection
        if connection.blocked is not None:
            self._until(sender, lambda: connection.blocked is None, deadline)
        return sender

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(0.001, deadline - monotonic())):
            raise TransportUnavailable("another thread still waits for the server")
        try:
            yield
        finally:
            self._lock.release()

    def _usable(self, deadline: float) -> Sender:
        sender = self._sender
        if sender is not None and sender.usable and not self._reading:
            try:
                # The server may have ended it while nobody looked.
                sender.connection.pump(0.0)
            except TransportUnavailable:
                sender = None
        if sender is None or not sender.usable:
            if sender is not None:
                sender.connection.close(NOD)
            self._sender = None
            connection = self._connector.connect(deadline - monotonic(), rare=True)
            sender = self._sender = Sender(connection)
        return sender

    # -- waiting -----------------------------------------------------------------------------

    def _until(self, sender: Sender, done: Callable[[], bool], deadline: float) -> None:
        """Wait for a condition that what the server sends brings about."""
        waiter = Waiter(done)
        while True:
            with self._lock:
                if done():
                    return
                if monotonic() >= deadline:
                    raise self._late(sender)
                reads = not self._reading
                if reads:
                    self._reading = True
                else:
                    self._waiters.append(waiter)
            if reads:
                self._read(sender, done, deadline)
            elif not waiter.turn.acquire(timeout=max(0.001, deadline - monotonic())):
                with self._lock:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)

    def _read(self, sender: Sender, done: Callable[[], bool], deadline: float) -> None:
        """Read for all that wait, until our own condition holds."""
        try:
            while True:
                left = deadline - monotonic()
                sender.connection.wait_readable(max(0.0, min(left, SLICE)))
                with self._lock:
                    sender.connection.pump(0.0)
                    self._wake_done()
                    if left <= 0 or done():
                        return
        except BaseException:
            with self._lock:
                self._wake_all()
            raise
        finally:
            with self._lock:
                self._reading = False
                if self._waiters:
                    self._waiters.pop(0).turn.release()

    def _late(self, sender: Sender) -> TransportError:
        connection = sender.connection
        if connection.blocked is not None:
            return alarm(connection.name, connection.blocked)
        self._wake_all()
        return connection.fail(lost(connection.name, "the server has not confirmed in time"))

    def _wake_done(self) -> None:
        for waiter in [waiter for waiter in self._waiters if _is_over(waiter)]:
            self._waiters.remove(waiter)
            waiter.turn.release()

    def _wake_all(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.turn.release()

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Bounded; what another thread still uses is left to it."""
        if not self._lock.acquire(timeout=GOODBYE):
            return
        try:
            if self._sender is not None and not self._reading:
                self._sender.connection.close(NOD)
                self._sender = None
        finally:
            self._lock.release()

    def forget(self) -> None:
        """In a forked child; threads that hold the lock or wait are not there."""
        inherit(self._sender)
        self._sender, self._reading, self._waiters = None, False, []
        self._lock = Lock()


class NotConfirmed(Exception):
    """Some messages were sent and not confirmed; `batch` tells which ones are.

    `alone` says that nothing else was on its way: what the server refused is this.
    """

    def __init__(self, error: TransportError, batch: Batch, outstanding: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.batch = batch
        self.alone = outstanding == len(batch.messages) == 1


def _is_over(waiter: Waiter) -> bool:
    try:
        return waiter.done()
    except TransportError:
        return True

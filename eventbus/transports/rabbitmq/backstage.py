"""What a member stores itself, on a connection apart: dead letters and parked events.

An alarm stops a connection as soon as it publishes; acks must not wait behind that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from .connection import PATIENCE
from .errors import lost
from .frames import Outgoing
from .lanes import NOD
from .link import Connector
from .sender import Batch, Sender

Then = Callable[[Batch], None]


class Backstage:
    """Stores messages and tells when they are safe; waits for the end of an alarm, if need be."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._sender: Sender | None = None
        self._later: deque[tuple[Sequence[Outgoing], Then]] = deque()
        self._owed: deque[tuple[Batch, Then]] = deque()

    def __bool__(self) -> bool:
        """Whether something is not safe yet."""
        return bool(self._later or self._owed)

    @property
    def blocked(self) -> bool:
        return self._sender is not None and self._sender.connection.blocked is not None

    def put(self, messages: Sequence[Outgoing], then: Then) -> None:
        """Store messages, and call `then` once they are; waits for that, but not for an alarm.

        Raises:
            TransportError: the connection is gone, or not to be had.
        """
        self._later.append((messages, then))
        deadline = monotonic() + PATIENCE
        while self:
            self.work(max(0.0, deadline - monotonic()))
            if self.blocked:
                return
            if self and monotonic() >= deadline:
                raise lost(self._connector.name, "the server has not confirmed in time")

    def work(self, timeout: float = 0.0) -> None:
        """Send what waits for that, and see what is safe by now."""
        if not self:
            return
        sender = self._sender or self._connect()
        if self._owed or self.blocked:
            sender.connection.pump(timeout)
        while self._later and not self.blocked:
            messages, then = self._later.popleft()
            self._owed.append((sender.post(messages), then))
            sender.connection.flush(monotonic() + PATIENCE)
        while self._owed and sender.settled(self._owed[0][0]):
            batch, then = self._owed.popleft()
            then(batch)

    def _connect(self) -> Sender:
        self._sender = Sender(self._connector.connect())
        return self._sender

    def beat(self) -> None:
        """Show that we live."""
        if self._sender is not None:
            self._sender.connection.pump(0.0)

    def close(self) -> None:
        if self._sender is not None:
            self._sender.connection.close(NOD)

"""Connections that any thread may use, one at a time; made when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

from ...errors import TransportUnavailable
from .channel import Channel
from .connection import ANSWER_TIMEOUT, Connection
from .link import Connector
from .sender import Sender

#: Connections of a parent process: a child must not close them.
_inherited: list[object] = []

#: Seconds that saying good-bye may take, and where nothing that counts is on its way.
GOODBYE, NOD = 0.5, 0.1


def inherit(thing: object) -> None:
    """Keep something of a parent process without touching it."""
    _inherited.append(thing)


class Asker:
    """Calls that have an answer and store no message: an alarm does not stop them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._channel: Channel | None = None

    @property
    def usable(self) -> bool:
        return self.connection.usable

    def call(self, *methods: Any, timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        """As `Channel.call`; a refusal costs a channel, and the next call opens another."""
        if self._channel is None or self._channel.error is not None:
            self._channel = self.connection.channel(timeout)
        return self._channel.call(*methods, timeout=timeout)


Made = TypeVar("Made", Asker, Sender)


class Lane(Generic[Made]):
    """A lock and what it protects.

    Args:
        connector: how to connect.
        make: makes the thing from a connection.
    """

    def __init__(self, connector: Connector, make: Callable[[Connection], Made]) -> None:
        self._connector = connector
        self._make: Callable[[Connection], Made] = make
        self._lock = Lock()
        self._made: Made | None = None

    @contextmanager
    def __call__(self, timeout: float = ANSWER_TIMEOUT) -> Iterator[Made]:
        """The thing, alone.

        Raises:
            TransportError: no connection, or another thread keeps it; nothing was sent.
        """
        deadline = monotonic() + timeout
        if not self._lock.acquire(timeout=max(0.001, timeout)):
            raise TransportUnavailable("another thread still waits for an answer of the server")
        try:
            yield self._usable(deadline)
        finally:
            self._lock.release()

    def _usable(self, deadline: float) -> Made:
        made = self._made
        if made is not None and made.usable:
            try:
                # The server may have ended it while nobody looked.
                made.connection.pump(0.0)
            except TransportUnavailable:
                made = None
        if made is None or not made.usable:
            if made is not None:
                made.connection.close(NOD)
            self._made = None
            connection = self._connector.connect(deadline - monotonic(), rare=True)
            made = self._made = self._make(connection)
        return made

    def close(self) -> None:
        """Bounded; what another thread still uses is left to it."""
        if not self._lock.acquire(timeout=GOODBYE):
            return
        try:
            if self._made is not None:
                self._made.connection.close(NOD)
                self._made = None
        finally:
            self._lock.release()

    def forget(self) -> None:
        """In a forked child; the lock may be held by a thread that is not there."""
        inherit(self._made)
        self._made = None
        self._lock = Lock()

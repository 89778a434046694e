"""Waiting on a client's socket, in a way that any thread can end at once."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from typing import Any, NamedTuple

#: `poll` where there is one: `select` takes no descriptor beyond 1,023.
Selector: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Ready(NamedTuple):
    """Why a wait has ended; neither is set after its time was over."""

    server: bool
    woken: bool


class Waker:
    """One thread waits, any other one wakes it: no round trip to a server is needed."""

    def __init__(self) -> None:
        # Sockets, not a pipe: a late `wake` on a closed one is an error, not somebody else's file.
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._selector = Selector()
        self._selector.register(self._read, selectors.EVENT_READ)
        self._server: int | None = None

    def wait(self, server: int, timeout: float) -> Ready:
        """Wait until the descriptor can be read, or for `wake`, for up to `timeout` seconds."""
        self._watch(server)
        ready = {key.fd for key, _ in self._selector.select(max(0.0, timeout))}
        woken = self._read.fileno() in ready
        if woken:
            self._drain()
        return Ready(server in ready, woken)

    def _watch(self, server: int) -> None:
        # Made once: a wait is on the way of each single event. `poll` knows descriptors by number
        # alone, so that a new connection under an old one's number needs no other care.
        if server == self._server:
            return
        if self._server is not None:
            self._selector.unregister(self._server)
        self._selector.register(server, selectors.EVENT_READ)
        self._server = server

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._read.recv(4096):
                continue

    def wake(self) -> None:
        """End the wait, or the next one. Any thread may call this, also after `close`."""
        with suppress(OSError):  # Full: it is awake. Closed: it is over.
            self._write.send(b"!")

    def close(self) -> None:
        self._selector.close()
        self._read.close()
        self._write.close()


def is_readable(descriptor: int, timeout: float = 0.0) -> bool:
    """Whether something can be read from it within `timeout` seconds."""
    with Selector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(timeout))

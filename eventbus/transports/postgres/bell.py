"""Waiting for news on the consuming connection itself, and a socket to end the wait.

A notification names a topic, as a hint; it may be lost, and nothing depends on it.
"""

from __future__ import annotations

import selectors
import socket
from typing import Any

import psycopg

from ...errors import TransportUnavailable
from .link import Link, Selector

#: Notifications kept in mind: what exceeds them means "look everywhere".
MOST = 1_000


class Bell:
    """The topics of which news have come since the last look."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._news: list[str] = []
        # Sockets, not a pipe: a late `wake` on a closed one is an error, not somebody else's file.
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def listen(self, channel: str) -> None:
        """Hear of what is announced from now on."""
        self._link.raw.add_notify_handler(self._heard)
        self._link.script(f'LISTEN "{channel}"')

    def _heard(self, notify: Any) -> None:
        self._news.append(notify.payload)

    def news(self) -> list[str]:
        """Topics that were announced; an empty name stands for all of them."""
        if not self._news:
            return []
        news, self._news = self._news, []
        return news if len(news) < MOST else [""]

    def wait(self, timeout: float) -> bool:
        """Wait for news; `False` after `wake`."""
        if self._news:
            return True
        pgconn = self._link.raw.pgconn
        ready = self._ready(pgconn.socket, timeout)
        if pgconn.socket in ready:
            self._receive(pgconn)
        if self._read in ready:
            self._drain()
            return False
        return True

    def _ready(self, server: int, timeout: float) -> set[Any]:
        with Selector() as selector:
            selector.register(server, selectors.EVENT_READ)
            selector.register(self._read, selectors.EVENT_READ)
            return {key.fileobj for key, _ in selector.select(max(0.0, timeout))}

    def _receive(self, pgconn: Any) -> None:
        try:
            pgconn.consume_input()
            while (notify := pgconn.notifies()) is not None:
                self._news.append(notify.extra.decode())
        except psycopg.Error as error:
            self._link.close()
            raise TransportUnavailable(f"{self._link.name}: {error}") from error

    def _drain(self) -> None:
        try:
            while self._read.recv(4096):
                continue
        except BlockingIOError:
            return

    def wake(self) -> None:
        """End a wait, now or the next one. Any thread may call this."""
        try:
            self._write.send(b"!")
        except OSError:  # Full: it is awake. Closed: it is over.
            return

    def close(self) -> None:
        self._read.close()
        self._write.close()

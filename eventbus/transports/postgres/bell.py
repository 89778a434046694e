"""Waiting for news on the consuming connection itself, and a socket to end the wait.

A notification names a topic, as a hint; it may be lost, and nothing depends on it.
"""

from __future__ import annotations

from typing import Any

import psycopg

from ...errors import TransportUnavailable
from ..waiting import Waker
from .link import Link

#: Notifications kept in mind: what exceeds them means "look everywhere".
MOST = 1_000


class Bell:
    """The topics of which news have come since the last look."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._news: list[str] = []
        self._waker = Waker()

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
        ready = self._waker.wait(pgconn.socket, timeout)
        if ready.server:
            self._receive(pgconn)
        return not ready.woken

    def _receive(self, pgconn: Any) -> None:
        try:
            pgconn.consume_input()
            while (notify := pgconn.notifies()) is not None:
                self._news.append(notify.extra.decode())
        except psycopg.Error as error:
            self._link.close()
            raise TransportUnavailable(f"{self._link.name}: {error}") from error

    def wake(self) -> None:
        """End a wait, now or the next one. Any thread may call this."""
        self._waker.wake()

    def close(self) -> None:
        self._waker.close()

"""Notices a client that knows no broker any more, and finds none for as long as it lives.

The last broker of a cluster that stops says that there are no brokers. The client forgets the ones
it knew and means to begin anew with those of its settings, which the same answer may keep it from
(librdkafka 2.10 to 2.16, confluentinc/librdkafka#5301). It says nothing, and tries nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from threading import Thread
from time import monotonic

#: Milliseconds between two statistics.
INTERVAL = 2_000
#: Brokers that a client may talk to, in its statistics; its coordinator is named by one of them.
_KNOWN = ('"source":"learned"', '"source":"configured"')
#: Seconds of asking in vain: a client that is well connects in less.
VAIN = 2.0
#: Seconds for seeing whether a broker takes connections, and of these to wait for.
CONNECT, AT_ONCE = 0.3, 0.02


class Forgetting:
    """Of a client that is polled all the time: its statistics show it.

    One that is not would pile them up.
    """

    def __init__(self) -> None:
        #: The client has to be replaced.
        self.found = False

    def callbacks(self) -> dict[str, object]:
        """Settings for a client."""
        return {"statistics.interval.ms": INTERVAL, "stats_cb": self._look}

    def _look(self, statistics: str) -> None:
        """Called by the client, with JSON; must not raise."""
        self.found = not any(known in statistics for known in _KNOWN)


class Silence:
    """Of a client that is asked now and then: it finds no broker though one can be reached.

    Args:
        brokers: addresses, "host:port".
    """

    def __init__(self, brokers: Iterable[str]) -> None:
        self._brokers = list(brokers)
        self._since: float | None = None
        self._reached = False
        self._try: Thread | None = None

    def answered(self) -> None:
        """A broker was there, or the client is another one."""
        self._since, self._reached = None, False

    def unanswered(self) -> bool:
        """There was none; whether the client has to be replaced, as far as is known by now."""
        if self._since is None:
            self._since = monotonic()
        if monotonic() - self._since < VAIN:
            return False
        if self._try is None or not self._try.is_alive():
            # In a thread, because nothing bounds how long a name is looked up.
            self._try = Thread(target=self._reach, name="kafka-reach", daemon=True)
            self._try.start()
            self._try.join(AT_ONCE)
        return self._reached

    def _reach(self) -> None:
        self._reached = any(map(reachable, self._brokers))


def reachable(broker: str) -> bool:
    """Whether something takes connections there."""
    host, _, port = broker.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
    except (OSError, ValueError):
        return False
    return True

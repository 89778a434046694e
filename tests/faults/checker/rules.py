"""What the invariants allow, and what breaks one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Violation(NamedTuple):
    """An invariant that does not hold, and how that shows."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Budgets of one run; all times in seconds.

    Attributes:
        settle_window: what a process completed in so long before its end may be repeated.
        leases: what a member holds outlives its connection; otherwise what began in an outage, too,
            is handled again.
        reconnect: until a member whose connection outlives an outage has the broker again. What it
            begins meanwhile counts as begun in the outage.
        unaware: until a server knows that a member is dead, to which it may hand events so long.
        take_over: until what a killed member ran begins at a peer.
        session: how much longer that may take where two of a group die within such a time.
        recovery: from the end of a broker's outage to the first handled event; the next outages
            do not count.
        drain: from the last publish or fault until nothing is left.
        detection: until `health` stops saying "ok" in an outage.
        publish: what one call of publish may take in all.
        close_grace: what `close` may take beyond its timeout.
        threads: how many a closed process may have more than before.
        files: how many open files a closed process may have more than before.
        memory: factor by which a closed process may have grown.
        canaries: secrets that no line may contain.
    """

    settle_window: float = 0.1
    leases: bool = True
    reconnect: float = 0.0
    unaware: float = 0.0
    take_over: float = 10.0
    session: float = 0.0
    recovery: float = 10.0
    drain: float = 60.0
    detection: float = 15.0
    publish: float = 6.0
    close_grace: float = 2.0
    threads: int = 0
    files: int = 0
    memory: float = 3.0
    canaries: tuple[str, ...] = ()

"""What `bus.health()` and `bus.stats()` return: plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ._engine.member import State


class SubscriptionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One live subscription of this process.

    Attributes:
        group: its consumer group.
        pattern: its pattern, without the prefix.
        state: `connecting`, `running`, `paused`, `failed` or `closed`.
        last_fetch: seconds since the broker last answered a fetch; `None` before the first.
        in_flight: events this process holds.
        backlog: events not settled yet, or `None` where the broker cannot tell.
    """

    group: str
    pattern: str
    state: State
    last_fetch: float | None
    in_flight: int
    backlog: int | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of a bus.

    Attributes:
        provider: the transport's name.
        location: where the events are, without any password.
        ok: whether every live subscription is running.
        subscriptions: the live ones.
    """

    provider: str
    location: str
    ok: bool
    subscriptions: tuple[SubscriptionHealth, ...]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters since the bus was made, over all its subscriptions.

    Attributes:
        published: events confirmed by the broker.
        handled: successful handler calls.
        failed: failed handler calls.
        retried: failures that were tried again in this process.
        parked: failures that were stored until they are due.
        dead_lettered: failures that became dead letters.
        released: events given back before a handler began.
        skipped: foreign bytes that a wildcard met.
        leases_lost: events that went to a peer while they were held here.
        topology_lost: subscriptions that had vanished from the broker.
        reconnects: sessions that were lost or could not be had.
    """

    published: int = 0
    handled: int = 0
    failed: int = 0
    retried: int = 0
    parked: int = 0
    dead_lettered: int = 0
    released: int = 0
    skipped: int = 0
    leases_lost: int = 0
    topology_lost: int = 0
    reconnects: int = 0

"""What goes wrong in the file: leases, acks, positions, retention."""

from __future__ import annotations

import time
from typing import Any

from eventbus.transports.base import Settlement
from eventbus.transports.sqlite import retention
from eventbus.transports.sqlite.consumer import SQLiteConsumer
from eventbus.transports.sqlite.settling import Settling
from eventbus.transports.sqlite.topics import Topics

from . import change

#: Seconds between two writes that should have been one: long enough for a kill in between.
BETWEEN = 3.0


def lease_never_renewed() -> None:
    """Leases end while their handlers still run."""
    change(SQLiteConsumer, "keepalive", lambda _: lambda self, held: [])


def stale_ack_accepted() -> None:
    """Whoever once held a lease may settle with it for ever."""
    change(Settling, "_mine", lambda _: lambda self, delivery: True)
    change(SQLiteConsumer, "keepalive", lambda keepalive: lambda self, held: (
        keepalive(self, held) and []
    ))


def dead_letter_after_ack() -> None:
    """The ack comes first, and the dead letter some time later."""
    waiting: list[Any] = []

    def make(settle: Any) -> Any:
        def split(self: Any, settlement: Any) -> Any:
            waiting.extend(settlement.dead)
            settlement.dead = []
            lost = settle(self, settlement)
            if waiting and settlement.acks:
                time.sleep(BETWEEN)
                settle(self, Settlement(dead=waiting))
            return lost

        return split

    change(SQLiteConsumer, "settle", make)


def dead_letter_apart_from_ack() -> None:
    """The dead letter comes first, and the ack in a transaction of its own."""

    def make(settle: Any) -> Any:
        def split(self: Any, settlement: Any) -> Any:
            if settlement.dead:
                settle(self, Settlement(dead=settlement.dead))
                time.sleep(BETWEEN)
                settlement.dead = []
            return settle(self, settlement)

        return split

    change(SQLiteConsumer, "settle", make)


def dead_members_keep_their_events() -> None:
    """Nobody looks after leases whose owner is gone."""
    change(SQLiteConsumer, "_free_the_dead", lambda _: lambda self: None)


def position_at_the_end() -> None:
    """Each session begins behind what was published before it."""

    def make(attach: Any) -> Any:
        def latest(self: Any, subscription: Any) -> None:
            attach(self, subscription)
            with self._database.write(5.0) as connection:
                connection.execute(
                    "UPDATE eventbus_subscription SET cursor ="
                    " (SELECT coalesce(max(seq), cursor) FROM eventbus_log)"
                )

        return latest

    change(SQLiteConsumer, "attach", make)


def births_not_durable() -> None:
    """Types that appeared while no member was there are read from their end."""

    def remember(refresh: Any) -> Any:
        def noted(self: Any, connection: Any) -> None:
            refresh(self, connection)
            if connection.in_transaction:
                connection.execute("CREATE TABLE IF NOT EXISTS known (id INTEGER PRIMARY KEY)")
                connection.executemany(
                    "INSERT OR IGNORE INTO known VALUES (?)", [(id,) for id in self.names]
                )

        return noted

    def make(attach: Any) -> Any:
        def forgetful(self: Any, subscription: Any) -> None:
            with self._database.write(5.0) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS known (id INTEGER PRIMARY KEY)")
                connection.execute(
                    "DELETE FROM eventbus_log WHERE topic NOT IN (SELECT id FROM known)"
                )
            attach(self, subscription)

        return forgetful

    change(Topics, "refresh", remember)
    change(SQLiteConsumer, "attach", make)


def retention_removes_unsettled() -> None:
    """Only the age of an event decides whether it is removed."""
    change(retention, "unsettled_from", lambda _: lambda connection: None)


ALL = (
    lease_never_renewed, stale_ack_accepted, dead_letter_after_ack, dead_letter_apart_from_ack,
    dead_members_keep_their_events, position_at_the_end, births_not_durable,
    retention_removes_unsettled,
)

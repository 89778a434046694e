"""The consuming connection: `synchronous=NORMAL`, since a lost claim or ack only repeats events."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from threading import Event
from time import monotonic

from ...errors import TransportUnavailable
from ..base import Budget, Delivery, SubscriptionId
from ..base import Settlement as Outcomes
from . import leases
from .claims import Claims
from .database import WRITE_TIMEOUT, Database, translated
from .leases import InboxReceipt, Lease, LogReceipt
from .owners import Owner, dead_owners, lease_clock
from .settling import Settling, as_json
from .topics import Topics

#: Seconds between two looks at `data_version` (4 microseconds each) for a second after anything
#: happened, and when nothing does.
FAST, SLOW = 0.003, 0.015
ACTIVE = 1.0
#: Seconds between two looks for parked events that are due, lapsed leases and dead owners.
RECHECK = 0.5


class SQLiteConsumer:
    """Claims, settles and renews in the name of one owner.

    Args:
        path: of the file.
        owner: in whose name.
        lease: seconds.
        held: deliveries of an earlier session that are still in this process's hands.
    """

    def __init__(
        self, path: str, owner: Owner, lease: float, held: Collection[Delivery]
    ) -> None:
        self._database = Database(path, "NORMAL")
        self._connection = self._database.connection
        self._owner = owner
        self._lease = lease
        self._topics = Topics()
        self._claims = Claims(owner.id, lease, self._topics)
        self._attached: set[SubscriptionId] = set()
        self._dirty: set[SubscriptionId] = set()
        self._version = -1
        self._recheck_at = 0.0
        self._active_until = 0.0
        self._woken = Event()
        with self._database.write(WRITE_TIMEOUT) as connection:
            owner.register(connection)
            self._free_what_nobody_holds(connection, held)

    def _free_what_nobody_holds(
        self, connection: sqlite3.Connection, held: Collection[Delivery]
    ) -> None:
        """A claim that was committed may not have been handed over when its session broke."""
        receipts = [delivery.receipt for delivery in held]
        for table, kept in (
            ("eventbus_lease", {r.lease.id for r in receipts if isinstance(r, LogReceipt)}),
            ("eventbus_inbox", {r.id for r in receipts if isinstance(r, InboxReceipt)}),
        ):
            connection.execute(
                f"UPDATE {table} SET owner = NULL WHERE owner = ?"
                " AND id NOT IN (SELECT value FROM json_each(?))",
                (self._owner.id, as_json(kept)),
            )

    def attach(self, subscription: SubscriptionId) -> None:
        self._attached.add(subscription)
        self._dirty.add(subscription)

    def detach(self, subscription: SubscriptionId) -> None:
        self._attached.discard(subscription)
        self._dirty.discard(subscription)

    # -- fetching ----------------------------------------------------------------------------

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        deadline = monotonic() + timeout
        while True:
            with translated(self._database.path), self._database.use():
                fetched = self._look(budgets)
            now = monotonic()
            if fetched:
                self._active_until = now + ACTIVE
            if fetched or now >= deadline:
                return fetched
            pause = FAST if now < self._active_until else SLOW
            if self._woken.wait(min(pause, deadline - now)):
                self._woken.clear()
                return fetched

    def _look(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        version = self._database.data_version()
        if version != self._version:
            self._version = version
            self._topics.refresh(self._connection)
            self._dirty |= self._attached
        if monotonic() >= self._recheck_at:
            self._recheck_at = monotonic() + RECHECK
            if not self._database.is_current():
                raise TransportUnavailable(f"{self._database.path} was replaced while in use")
            self._free_the_dead()
            self._dirty |= self._attached
        wanted = [id for id in budgets if id in self._dirty and self._has_work(id)]
        return self._claim({id: budgets[id] for id in wanted}) if wanted else []

    def _has_work(self, id: SubscriptionId) -> bool:
        if self._claims.has_work(self._connection, id):
            return True
        self._dirty.discard(id)
        return False

    def _claim(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched = []
        with self._database.write(WRITE_TIMEOUT) as connection:
            self._topics.refresh(connection)
            for id, budget in budgets.items():
                deliveries = self._claims.claim(connection, id, budget)
                if deliveries:
                    fetched.append((id, deliveries))
        return fetched

    def _free_the_dead(self) -> None:
        """Take the leases of processes that are gone, and lapsed ones, from their owners."""
        dead = dead_owners(self._connection, self._owner.id)
        if not dead and not self._lapsed():
            return
        with self._database.write(WRITE_TIMEOUT) as connection:
            for table in ("eventbus_lease", "eventbus_inbox"):
                connection.execute(
                    f"UPDATE {table} SET owner = NULL, deaths = deaths + 1"
                    " WHERE owner IS NOT NULL AND owner != ? AND until < ?",
                    (self._owner.id, lease_clock()),
                )
                connection.executemany(
                    f"UPDATE {table} SET owner = NULL, deaths = deaths + 1 WHERE owner = ?",
                    [(id,) for id in dead],
                )
            connection.executemany(
                "DELETE FROM eventbus_owner WHERE id = ?", [(id,) for id in dead]
            )

    def _lapsed(self) -> bool:
        return any(
            self._connection.execute(
                f"SELECT 1 FROM {table} WHERE owner IS NOT NULL AND owner != ? AND until < ?"
                " LIMIT 1", (self._owner.id, lease_clock()),
            ).fetchone()
            for table in ("eventbus_lease", "eventbus_inbox")
        )

    # -- settling ----------------------------------------------------------------------------

    def settle(self, settlement: Outcomes) -> Collection[Delivery]:
        with self._database.write(WRITE_TIMEOUT) as connection:
            settling = Settling(connection, self._owner.id)
            settling.write(settlement)
        settling.finish()
        if settlement.releases or settlement.parked:
            self._dirty |= self._attached
        return settling.lost

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        by_lease: dict[Lease, set[int]] = {}
        inbox = []
        for delivery in held:
            receipt = delivery.receipt
            if isinstance(receipt, LogReceipt):
                by_lease.setdefault(receipt.lease, set()).add(receipt.seq)
            elif isinstance(receipt, InboxReceipt):
                inbox.append(receipt.id)
        with self._database.write(WRITE_TIMEOUT) as connection:
            self._renew(connection, by_lease, inbox)
            alive = leases.owned(connection, self._owner.id)
            alive_inbox = leases.owned_inbox(connection, self._owner.id)
        return [d for d in held if not _alive(d, alive, alive_inbox)]

    def _renew(
        self, connection: sqlite3.Connection, by_lease: Mapping[Lease, set[int]], inbox: list[int]
    ) -> None:
        until = lease_clock() + self._lease
        mine = leases.owned(connection, self._owner.id)
        for lease, kept in by_lease.items():
            let_go = lease.seqs - kept
            if let_go and lease.id in mine:
                leases.update(connection, lease, kept)
                leases.insert(connection, None, 0.0, lease, let_go)
                lease.seqs &= kept
        connection.executemany(
            "UPDATE eventbus_lease SET until = ? WHERE id = ? AND owner = ?",
            [(until, lease.id, self._owner.id) for lease in by_lease],
        )
        connection.executemany(
            "UPDATE eventbus_inbox SET until = ? WHERE id = ? AND owner = ?",
            [(until, id, self._owner.id) for id in inbox],
        )

    def mark_started(self, delivery: Delivery) -> None:
        receipt = delivery.receipt
        with self._database.write(WRITE_TIMEOUT) as connection:
            if isinstance(receipt, LogReceipt):
                connection.execute(
                    "UPDATE eventbus_lease SET started = ? WHERE id = ?",
                    (receipt.seq, receipt.lease.id),
                )
            else:
                connection.execute(
                    "UPDATE eventbus_inbox SET started = 1 WHERE id = ?", (receipt.id,)
                )

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._database.close()


def _alive(delivery: Delivery, alive: set[int], inbox: set[int]) -> bool:
    receipt = delivery.receipt
    if isinstance(receipt, LogReceipt):
        return receipt.lease.id in alive
    return isinstance(receipt, InboxReceipt) and receipt.id in inbox

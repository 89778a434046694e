"""Writing outcomes: dead letters, parked events and acks in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from ..base import DeadRecord, Delivery, Parked, Settlement
from . import leases
from .holding import DURABLY, Holding
from .leases import InboxReceipt, Lease, LogReceipt
from .link import Link
from .tables import Tables


class Settling:
    """One settlement while it is written; `finish` once it is committed."""

    def __init__(self, link: Link, tables: Tables, owner: str, holding: Holding) -> None:
        self._link = link
        self._tables = tables
        self._owner = owner
        self._holding = holding
        self._leases: set[int] = set()
        self._inbox: set[int] = set()
        self._gone: dict[Lease, set[int]] = {}
        self._freed: dict[Lease, set[int]] = {}
        self.lost: list[Delivery] = []

    def write_whole(self, settlement: Settlement, durably: bool) -> bool:
        """Write what is nothing but the end of whole leases, in one statement.

        Args:
            settlement: what to write.
            durably: have it outlive a crash of the server.

        Returns:
            `False` where there is more to it; then nothing is written.
        """
        if settlement.releases or settlement.succeeded or settlement.dead or settlement.parked:
            return False
        if not all(isinstance(delivery.receipt, LogReceipt) for delivery in settlement.acks):
            return False
        for delivery in settlement.acks:
            lease, id = delivery.receipt
            self._gone.setdefault(lease, set()).add(id)
        if self._link.pooled or any(ids != lease.held.keys() for lease, ids in self._gone.items()):
            self._gone.clear()
            return False
        wait = DURABLY if durably else ""
        rows = self._link.rows(
            f"DELETE FROM {self._tables.lease} WHERE id = ANY(%s) AND owner = %s"
            f" RETURNING id{wait}", [[lease.id for lease in self._gone], self._owner],
        )
        ended = {row[0] for row in rows}
        self.lost = [d for d in settlement.acks if d.receipt.lease.id not in ended]
        return True

    def write(self, settlement: Settlement) -> None:
        self._look(settlement)
        for delivery, record in settlement.dead:
            if self._mine(delivery):
                insert_dead(self._link, self._tables, record)
        for delivery, parked in settlement.parked:
            if self._mine(delivery):
                insert_parked(self._link, self._tables, parked)
        for delivery, handler in settlement.succeeded:
            if self._mine(delivery):
                self._succeed(delivery.receipt, handler)
        self._remove(settlement.acks)
        self._free(settlement.releases)
        self._holding.shrink(self._link, self._gone)
        for lease, freed in self._freed.items():
            insert_free(self._link, self._tables, lease, freed)

    def finish(self) -> None:
        """Remember what was committed."""
        for lease, gone in self._gone.items():
            for id in gone:
                del lease.held[id]

    def _look(self, settlement: Settlement) -> None:
        """Find out which receipts are still ours, and keep others from them until the commit."""
        numbers: set[int] = set()
        entries: set[int] = set()
        for delivery in concerned(settlement):
            receipt = delivery.receipt
            if isinstance(receipt, LogReceipt):
                numbers.add(receipt.lease.id)
            elif isinstance(receipt, InboxReceipt):
                entries.add(receipt.id)
        self._leases = self._owned(self._tables.lease, numbers)
        self._inbox = self._owned(self._tables.inbox, entries)

    def _owned(self, table: str, ids: set[int]) -> set[int]:
        if not ids:
            return set()
        rows = self._link.rows(
            f"SELECT id FROM {table} WHERE id = ANY(%s) AND owner = %s ORDER BY id FOR UPDATE",
            [list(ids), self._owner],
        )
        return {id for (id,) in rows}

    def _mine(self, delivery: Delivery) -> bool:
        receipt = delivery.receipt
        if isinstance(receipt, LogReceipt):
            return receipt.lease.id in self._leases and receipt.id in receipt.lease.held
        return isinstance(receipt, InboxReceipt) and receipt.id in self._inbox

    def _succeed(self, receipt: object, handler: str) -> None:
        if isinstance(receipt, LogReceipt):
            names = receipt.lease.succeeded.setdefault(receipt.id, [])
            if handler not in names:
                receipt.lease.succeeded[receipt.id] = [*names, handler]
            self._gone.setdefault(receipt.lease, set())
        elif isinstance(receipt, InboxReceipt):
            self._link.run(
                f"UPDATE {self._tables.inbox} SET succeeded = succeeded || %s::text WHERE id = %s",
                [handler, receipt.id],
            )

    def _remove(self, acks: Iterable[Delivery]) -> None:
        entries = []
        for delivery in acks:
            receipt = delivery.receipt
            if not self._mine(delivery):
                self.lost.append(delivery)
            elif isinstance(receipt, LogReceipt):
                self._gone.setdefault(receipt.lease, set()).add(receipt.id)
            else:
                entries.append(receipt.id)
        if entries:
            self._link.run(f"DELETE FROM {self._tables.inbox} WHERE id = ANY(%s)", [entries])

    def _free(self, releases: Iterable[Delivery]) -> None:
        entries = []
        for delivery in releases:
            receipt = delivery.receipt
            if not self._mine(delivery):
                self.lost.append(delivery)
            elif isinstance(receipt, LogReceipt):
                self._gone.setdefault(receipt.lease, set()).add(receipt.id)
                self._freed.setdefault(receipt.lease, set()).add(receipt.id)
            else:
                entries.append(receipt.id)
        if entries:
            # Whoever gives an event back has survived it.
            self._link.run(
                f"UPDATE {self._tables.inbox} SET owner = NULL, started = false"
                " WHERE id = ANY(%s)", [entries],
            )


def concerned(settlement: Settlement) -> Iterable[Delivery]:
    """All deliveries of a settlement."""
    yield from settlement.acks
    yield from settlement.releases
    for delivery, _ in (*settlement.succeeded, *settlement.dead, *settlement.parked):
        yield delivery


def insert_free(
    link: Link, tables: Tables, lease: Lease, ids: set[int], owner: str | None = None
) -> None:
    """Write a row for a part of a lease that anybody may claim.

    Args:
        link: where to.
        tables: where.
        lease: whose part it is.
        ids: the events.
        owner: keep it in this name until the lease would have ended.
    """
    until = "now()" if owner is None else f"(SELECT until FROM {tables.lease} WHERE id = %s)"
    values = [] if owner is None else [lease.id]
    link.run(
        f"INSERT INTO {tables.lease}"
        " (subscription, owner, until, deaths, count, held, succeeded)"
        f" VALUES (%s, %s, {until}, %s, %s, %s, %s)",
        [
            lease.subscription, owner, *values, lease.deaths, len(ids),
            leases.pack(lease.part(ids)), leases.dump_succeeded(lease, ids),
        ],
    )


def insert_parked(link: Link, tables: Tables, parked: Parked) -> bool:
    """Put an event into its subscription's inbox; `False` if that does not exist any more."""
    # As a wait from now on: the clocks of the two machines may differ.
    wait = (parked.due - datetime.now(timezone.utc)).total_seconds()
    made = link.run(
        f"INSERT INTO {tables.inbox} (subscription, handler, topic, key, data, attempt, due,"
        " first_failed_at, deaths) SELECT id, %s, %s, %s, %s, %s,"
        " clock_timestamp() + %s * interval '1 second', %s, %s"
        f" FROM {tables.subscription} WHERE grp = %s AND pattern = %s FOR KEY SHARE",
        [
            parked.handler, parked.topic, parked.key, parked.data, parked.attempt,
            max(0.0, wait), parked.first_failed_at, parked.deaths, *parked.subscription,
        ],
    )
    return made == 1


def insert_dead(link: Link, tables: Tables, record: DeadRecord) -> None:
    link.run(
        f"INSERT INTO {tables.dead} (id, grp, pattern, handler, topic, key, data, event_id,"
        " reason, error, traceback, attempts, first_failed_at, failed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO NOTHING",
        [
            record.id, *record.subscription, record.handler, record.topic, record.key,
            record.data, record.event_id, record.reason, _text(record.error),
            _text(record.traceback), record.attempts, record.first_failed_at, record.failed_at,
        ],
    )


def _text(text: str) -> str:
    """As far as the server takes it: no zero character, no half of a surrogate pair."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()

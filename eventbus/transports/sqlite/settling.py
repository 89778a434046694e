"""Writing outcomes: dead letters, parked events and acks in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime

from ..base import DeadRecord, Delivery, Parked, Settlement, SubscriptionId
from . import leases
from .leases import InboxReceipt, Lease, LogReceipt


class Settling:
    """One settlement while it is written; `finish` once it is committed."""

    def __init__(self, connection: sqlite3.Connection, owner: str) -> None:
        self._connection = connection
        self._leases = leases.owned(connection, owner)
        self._inbox = leases.owned_inbox(connection, owner)
        self._gone: dict[Lease, set[int]] = {}
        self._freed: dict[Lease, set[int]] = {}
        self.lost: list[Delivery] = []

    def write(self, settlement: Settlement) -> None:
        for delivery, record in settlement.dead:
            if self._mine(delivery):
                insert_dead(self._connection, record)
        for delivery, parked in settlement.parked:
            if self._mine(delivery):
                insert_parked(self._connection, parked)
        for delivery, handler in settlement.succeeded:
            if self._mine(delivery):
                self._succeed(delivery.receipt, handler)
        self._remove(settlement.acks)
        self._free(settlement.releases)
        for lease, gone in self._gone.items():
            leases.update(self._connection, lease, lease.seqs - gone)
        for lease, freed in self._freed.items():
            leases.insert(self._connection, None, 0.0, lease, freed)

    def finish(self) -> list[Lease]:
        """Remember what was committed; return the leases that are over."""
        for lease, gone in self._gone.items():
            lease.seqs -= gone
        return [lease for lease in self._gone if not lease.seqs]

    def _mine(self, delivery: Delivery) -> bool:
        receipt = delivery.receipt
        if isinstance(receipt, LogReceipt):
            return receipt.lease.id in self._leases and receipt.seq in receipt.lease.seqs
        return isinstance(receipt, InboxReceipt) and receipt.id in self._inbox

    def _succeed(self, receipt: object, handler: str) -> None:
        if isinstance(receipt, LogReceipt):
            receipt.lease.succeeded.setdefault(receipt.seq, []).append(handler)
            self._gone.setdefault(receipt.lease, set())

    def _remove(self, acks: Iterable[Delivery]) -> None:
        for delivery in acks:
            receipt = delivery.receipt
            if not self._mine(delivery):
                self.lost.append(delivery)
            elif isinstance(receipt, LogReceipt):
                self._gone.setdefault(receipt.lease, set()).add(receipt.seq)
            else:
                self._connection.execute("DELETE FROM eventbus_inbox WHERE id = ?", (receipt.id,))

    def _free(self, releases: Iterable[Delivery]) -> None:
        for delivery in releases:
            receipt = delivery.receipt
            if not self._mine(delivery):
                self.lost.append(delivery)
            elif isinstance(receipt, LogReceipt):
                self._gone.setdefault(receipt.lease, set()).add(receipt.seq)
                self._freed.setdefault(receipt.lease, set()).add(receipt.seq)
            else:
                self._connection.execute(
                    "UPDATE eventbus_inbox SET owner = NULL, started = 0 WHERE id = ?",
                    (receipt.id,),
                )


def insert_parked(connection: sqlite3.Connection, parked: Parked) -> bool:
    """Put an event into its subscription's inbox; `False` if that does not exist any more."""
    cursor = connection.execute(
        "INSERT INTO eventbus_inbox (subscription, handler, topic, key, data, attempt, due,"
        " first_failed_at, deaths) SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM eventbus_subscription"
        " WHERE grp = ? AND pattern = ?",
        (
            parked.handler, parked.topic, parked.key, parked.data, parked.attempt,
            parked.due.timestamp(), _stamp(parked.first_failed_at), parked.deaths,
            *parked.subscription,
        ),
    )
    return cursor.rowcount == 1


def insert_dead(connection: sqlite3.Connection, record: DeadRecord) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO eventbus_dead (id, grp, pattern, handler, topic, key, data,"
        " event_id, reason, error, traceback, attempts, first_failed_at, failed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id, *record.subscription, record.handler, record.topic, record.key,
            record.data, record.event_id, record.reason, record.error, record.traceback,
            record.attempts, record.first_failed_at.timestamp(), record.failed_at.timestamp(),
        ),
    )


def _stamp(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def subscription_row(connection: sqlite3.Connection, id: SubscriptionId) -> tuple[int, int] | None:
    """Row id and cursor, or `None`."""
    row = connection.execute(
        "SELECT id, cursor FROM eventbus_subscription WHERE grp = ? AND pattern = ?", id
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def as_json(numbers: Iterable[int]) -> str:
    return json.dumps(list(numbers))

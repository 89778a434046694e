"""Claimed batches: which events of the log this process holds, and their rows in the file."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Lease:
    """One claimed batch; the row's id is its token, a peer that takes it over makes a new row."""

    __slots__ = ("deaths", "id", "seqs", "started", "subscription", "succeeded")

    def __init__(
        self, id: int, subscription: int, seqs: Iterable[int], *, deaths: int = 0,
        started: int | None = None, succeeded: dict[int, list[str]] | None = None,
    ) -> None:
        self.id = id
        self.subscription = subscription
        self.seqs = set(seqs)
        self.deaths = deaths
        self.started = started
        self.succeeded = succeeded or {}


class LogReceipt(NamedTuple):
    """An event of the log."""

    lease: Lease
    seq: int


class InboxReceipt(NamedTuple):
    """A parked or replayed event; owned as long as `until` in the file says so."""

    id: int
    subscription: int


def pack(seqs: Iterable[int]) -> bytes:
    return array("q", sorted(seqs)).tobytes()


def unpack(blob: bytes) -> list[int]:
    numbers = array("q")
    numbers.frombytes(blob)
    return numbers.tolist()


def insert(
    connection: sqlite3.Connection, owner: str | None, until: float, lease: Lease,
    seqs: Collection[int] | None = None,
) -> int:
    """Write a row for (a part of) a lease and return its id."""
    held = lease.seqs if seqs is None else seqs
    cursor = connection.execute(
        "INSERT INTO eventbus_lease (subscription, owner, until, deaths, started, seqs, succeeded)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            lease.subscription, owner, until, lease.deaths,
            # Whoever gives an event back has survived it.
            lease.started if owner is not None and lease.started in held else None,
            pack(held), dump_succeeded(lease, held),
        ),
    )
    return int(cursor.lastrowid or 0)


def update(connection: sqlite3.Connection, lease: Lease, seqs: Collection[int]) -> None:
    """Write what of a lease is left; nothing left removes its row."""
    if seqs:
        connection.execute(
            "UPDATE eventbus_lease SET seqs = ?, succeeded = ? WHERE id = ?",
            (pack(seqs), dump_succeeded(lease, seqs), lease.id),
        )
    else:
        connection.execute("DELETE FROM eventbus_lease WHERE id = ?", (lease.id,))


def dump_succeeded(lease: Lease, seqs: Collection[int]) -> str:
    if not lease.succeeded:
        return "{}"
    return json.dumps({seq: names for seq, names in lease.succeeded.items() if seq in seqs})


def load_succeeded(text: str) -> dict[int, list[str]]:
    return {int(seq): names for seq, names in json.loads(text).items()} if text != "{}" else {}


def owned(connection: sqlite3.Connection, owner: str) -> set[int]:
    """Ids of the leases that are still this owner's."""
    rows = connection.execute("SELECT id FROM eventbus_lease WHERE owner = ?", (owner,))
    return {id for (id,) in rows.fetchall()}


def owned_inbox(connection: sqlite3.Connection, owner: str) -> set[int]:
    rows = connection.execute("SELECT id FROM eventbus_inbox WHERE owner = ?", (owner,))
    return {id for (id,) in rows.fetchall()}

"""Claimed batches: which events of the log this process holds, and their rows in the table."""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Collection, Iterable
from itertools import accumulate
from operator import sub
from typing import NamedTuple

from .snapshot import Place


class Lease:
    """One claimed batch; the row's id is its token, a peer that takes it over makes a new row."""

    __slots__ = ("deaths", "held", "id", "started", "subscription", "succeeded")

    def __init__(
        self, id: int, subscription: int, places: Iterable[Place], *, deaths: int = 0,
        started: int | None = None, succeeded: dict[int, list[str]] | None = None,
    ) -> None:
        self.id = id
        self.subscription = subscription
        #: By the number of the event: the number of its transaction.
        self.held = {place.id: place.xid for place in places}
        self.deaths = deaths
        self.started = started
        self.succeeded = succeeded or {}

    def part(self, ids: Collection[int]) -> list[Place]:
        return [Place(self.held[id], id) for id in ids]


class LogReceipt(NamedTuple):
    """An event of the log."""

    lease: Lease
    id: int


class InboxReceipt(NamedTuple):
    """A parked or replayed event; owned as long as `until` in the table says so."""

    id: int
    subscription: int


def pack(places: Iterable[Place]) -> bytes:
    """Places in a few bytes: neighbours differ by little, and mostly by the same."""
    ordered = sorted(places, key=lambda place: place.id)
    if not ordered:
        return b""
    columns = ([place.xid for place in ordered], [place.id for place in ordered])
    return zlib.compress(b"".join(map(_differences, columns)), 1)


def _differences(numbers: list[int]) -> bytes:
    return array("q", [numbers[0], *map(sub, numbers[1:], numbers)]).tobytes()


def unpack(blob: bytes) -> list[Place]:
    """The places, by the numbers of the events."""
    if not blob:
        return []
    numbers = array("q")
    numbers.frombytes(zlib.decompress(blob))
    half = len(numbers) // 2
    return list(map(Place, accumulate(numbers[:half]), accumulate(numbers[half:])))


def dump_succeeded(lease: Lease, ids: Collection[int]) -> str:
    if not lease.succeeded:
        return "{}"
    return json.dumps({id: names for id, names in lease.succeeded.items() if id in ids})


def load_succeeded(text: str) -> dict[int, list[str]]:
    return {int(id): names for id, names in json.loads(text).items()} if text != "{}" else {}

"""What the events of a run look like: a payload tells each handler what to do with it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from eventbus import Event, Reject

#: Seconds; whoever is held so long is killed long before.
FOR_EVER = 600.0
#: Seconds between two looks for a file.
POLL = 0.005


class Failed(Exception):
    """Raised by a handler because its event says so."""


def digest(event: Event) -> str:
    """Of everything that must arrive as it was sent."""
    content = (event.id, event.type, event.key, event.payload, sorted(event.metadata.items()))
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def seq(event: Event) -> int:
    """The event's place among those of its key."""
    return int(event.payload.get("seq", 0)) if isinstance(event.payload, dict) else 0


def _first(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def stream(
    count: int, *, seed: int, prefix: str = "k", keys: int = 50, seconds: float = 0.004,
    types: int = 3, failing: float = 0.0, rejected: float = 0.0, mixed: bool = True,
) -> Iterator[Event]:
    """Events of several types, most of them with a key, each key numbered from 1.

    Args:
        count: how many.
        seed: of their keys, types and durations.
        prefix: of the keys' names, so that two publishers never share one.
        keys: how many there are.
        seconds: what a handler takes at most; a quarter of it at least.
        types: how many event types.
        failing: share of events whose first attempt fails.
        rejected: share of events that end as dead letters.
        mixed: one key has events of several types, whose order not every transport keeps.
    """
    chance = Random(seed)
    places = dict.fromkeys(range(keys), 0)
    for n in range(count):
        payload: dict[str, Any] = {"seconds": round(chance.uniform(seconds / 4, seconds), 5)}
        key, kind = None, n
        if keys and n % 4:
            number = chance.randrange(keys)
            places[number] += 1
            key, payload["seq"] = f"{prefix}-{number}", places[number]
            kind = n if mixed else number
        if chance.random() < failing:
            payload["failures"] = 1
        elif chance.random() < rejected:
            payload["reject"] = True
        yield Event(
            f"job.t{kind % types}", payload, key=key, metadata={"trace": f"{prefix}/{n} – ✓"}
        )


def obey(event: Event, handler: str) -> None:
    """Do what the payload says; with `only`, in one handler alone.

    * `seconds`: take so long.
    * `hold`: paths; whoever can create one of these files stays for ever, the next one passes.
    * `until`: go on when this file exists.
    * `reject`, `reject_until`: refuse, or refuse as long as this file does not exist.
    * `failures`: let so many attempts fail.
    """
    order = event.payload
    if order.get("only", handler) != handler:
        return
    time.sleep(order.get("seconds", 0.0))
    if any(_first(path) for path in order.get("hold", ())):
        time.sleep(FOR_EVER)
    while not os.path.exists(order.get("until", "/")):
        time.sleep(POLL)
    if order.get("reject") or not os.path.exists(order.get("reject_until", "/")):
        raise Reject("the event says so")
    if event.attempt <= order.get("failures", 0):
        raise Failed(f"attempt {event.attempt}")

"""The filters of one assertion, and which events come close to passing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any
from uuid import UUID

import msgspec

from ..event import Event
from ..patterns import check_pattern, matches
from .texts import line, place, show

#: How many near misses, and differences of each, a failure message shows.
NEAR_MISSES, DIFFERENCES = 3, 5
#: How much two types have to look alike for one to be thought a misspelling of the other, and how
#: many differences in the content such an event is still farther away than one of the right type.
ALIKE, FOREIGN = 0.75, 1_000


class _Any:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


#: Stands for any value, as a whole or inside an expected payload: `payload={"id": ANY}`.
ANY: Any = _Any()


@dataclass(frozen=True, eq=False)
class Wanted:
    """The filters of one assertion."""

    pattern: str
    payload: Any
    key: Any
    metadata: Mapping[str, Any]
    where: Callable[[Event], object] | None

    def __post_init__(self) -> None:
        # Even if there is no event yet: one that could never match is always "not published".
        check_pattern(self.pattern)

    def matches(self, event: Event) -> bool:
        if not matches(self.pattern, event.type) or self.differences(event):
            return False
        return self.where is None or bool(self.where(event))

    def differences(self, event: Event) -> list[str]:
        """What is wrong with the event, but for its type and `where`."""
        found = list(_differences("payload", _as_sent(self.payload), event.payload))
        found += _differences("key", self.key, event.key)
        metadata = {name: event.metadata[name] for name in self.metadata if name in event.metadata}
        found += _differences("metadata", dict(self.metadata), metadata)
        return found

    def __str__(self) -> str:
        given = {"payload": self.payload, "key": self.key, "metadata": self.metadata or ANY}
        texts = [f"{name}={show(value)}" for name, value in given.items() if value is not ANY]
        if self.where is not None:
            texts.append(f"where={place(self.where)}")
        return f"event {self.pattern!r}" + (f" with {', '.join(texts)}" if texts else "")


def _as_sent(value: Any) -> Any:
    """An expected payload as a handler would get it."""
    if isinstance(value, dict):
        return {key: _as_sent(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_sent(child) for child in value]
    if isinstance(value, (datetime, UUID, Decimal)):
        return msgspec.json.decode(msgspec.json.encode(value))
    return value


def _differences(path: str, wanted: Any, found: Any) -> Iterator[str]:
    if wanted == found:
        return
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**wanted, **found}:
            yield from _differences_of_key(f"{path}[{key!r}]", key, wanted, found)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other)
    else:
        yield f"{path} is {show(found)}, not {show(wanted)}"


def _differences_of_key(
    path: str, key: Any, wanted: dict[Any, Any], found: dict[Any, Any]
) -> Iterator[str]:
    if key not in found:
        yield f"{path} is missing"
    elif key not in wanted:
        yield f"{path} is {show(found[key])}, and was not expected"
    else:
        yield from _differences(path, wanted[key], found[key])


def near_misses(wanted: Wanted, events: Sequence[Event]) -> list[str]:
    """The events that come closest without passing, each with what is wrong."""
    scored = []
    for number, event in enumerate(events, start=1):
        if not wanted.matches(event) and (found := _nearness(wanted, event)):
            scored.append((found[0], number, event, found[1]))
    lines = ["near misses:"] if scored else []
    for _, number, event, reasons in sorted(scored, key=lambda item: item[:2])[:NEAR_MISSES]:
        lines.append(line(number, event))
        lines += [f"         {reason}" for reason in reasons[:DIFFERENCES]]
    return lines


def _nearness(wanted: Wanted, event: Event) -> tuple[float, list[str]] | None:
    """How far the event is from what is wanted, and why; `None` if it has nothing to do with it."""
    reasons = wanted.differences(event)
    if matches(wanted.pattern, event.type):
        # Without any other difference it is `where` that the event does not pass.
        return len(reasons), reasons or ["where is not true for it"]
    alike = SequenceMatcher(None, wanted.pattern, event.type).ratio()
    same_content = wanted.payload is not ANY and not reasons
    if alike < ALIKE and not same_content:
        return None
    wrong = f"its type is {event.type!r}, not {wanted.pattern!r}"
    return FOREIGN + len(reasons) - alike, [wrong, *reasons]

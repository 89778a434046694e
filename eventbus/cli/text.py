"""Text of events, made harmless: it may hold whatever somebody published."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec


def line(text: str) -> str:
    """The text on one line; what could steer a terminal becomes `\\x1b` and the like."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(map(line, text.expandtabs().split("\n")))


def json(value: Any) -> str:
    """JSON on one line, as harmless as `line`, and still the same value."""
    # JSON leaves C1 controls and bidirectional overrides as they are, but lets us escape them.
    return _harmless(msgspec.json.encode(value).decode())


def pretty(value: Any) -> str:
    """JSON for people to read, on several lines."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return "\n".join(map(_harmless, encoded.split("\n")))


def moment(at: datetime | None) -> str:
    """A time as it is shown in tables: UTC, to the second."""
    return "" if at is None else f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%SZ}"


def age(at: datetime) -> str:
    """How long ago a time was, in its largest unit: `45s`, `12m`, `3h`, `5d`."""
    seconds = max(0, int((datetime.now(timezone.utc) - at).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _harmless(encoded: str) -> str:
    return encoded if encoded.isprintable() else "".join(map(_json_escaped, encoded))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _json_escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))

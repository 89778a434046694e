"""How events and values appear in failure messages."""

from __future__ import annotations

from collections.abc import Callable

from ..event import Event

#: Characters shown of one value: enough to recognise it.
SHOWN = 400


def line(number: int, event: Event, mark: str = " ") -> str:
    return f"{mark} {number:>3}. {event.type} key={event.key!r} payload={show(event.payload)}"


def show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def times(number: int) -> str:
    named = {0: "never published", 1: "published once", 2: "published twice"}
    return named.get(number, f"published {number} times")


def place(function: Callable[..., object]) -> str:
    """A function's name, and where it is written."""
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{name.rpartition('.')[2]}{where}"

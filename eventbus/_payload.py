"""What a payload may hold, and where exactly it holds something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from itertools import accumulate
from math import isfinite
from typing import Any
from uuid import UUID

from eventbus.errors import SerializationError

#: Containers inside one another. Each decoder stops somewhere, .NET's at 64 by default, Python's
#: between 900 and 10,000, less what is on the stack already; one limit makes it the same for all.
MAX_DEPTH = 100

_INTEGERS = range(-(2**63), 2**64)
_SENT_AS_TEXT = (datetime, UUID, Decimal)
_HINTS = {
    "bytes": "send text, for example base64",
    "bytearray": "send text, for example base64",
    "set": "send sorted(...) of it",
    "frozenset": "send sorted(...) of it",
    "date": "send its isoformat()",
    "time": "send its isoformat()",
    "timedelta": "send its total_seconds()",
}
_SHOWN = 40
_GENERAL_HINT = "convert it to dict, list, str, int, float, bool or None"

# Every quote begins a match, even in broken JSON, so that this stays linear.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"
_OTHERS = bytes(set(range(256)) - set(_OPENING + _CLOSING))
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\2\2\0\0")


def check_payload(payload: object) -> None:
    """Raise SerializationError with the path to the first value that cannot be sent."""
    if fault := _find_fault(payload, MAX_DEPTH):
        path, problem = fault
        raise SerializationError(f"payload{path} {problem}")


def is_too_deep(data: bytes, limit: int) -> bool:
    """Whether JSON has more than `limit` levels of arrays and objects, found without recursion."""
    if len(data) <= 2 * limit or data.count(b"[") + data.count(b"{") <= limit:
        return False
    steps = _STRING.sub(b"", data).translate(_STEPS, _OTHERS)
    return max(accumulate(step - 1 for step in steps), default=0) > limit


def _find_fault(value: object, room: int) -> tuple[str, str] | None:
    if isinstance(value, (dict, list, tuple)):
        return _find_in(value, room - 1)
    problem = _problem(value)
    return ("", problem) if problem else None


def _find_in(container: dict[Any, Any] | Sequence[Any], room: int) -> tuple[str, str] | None:
    if room < 0:
        return "", f"is nested deeper than {MAX_DEPTH} levels or contains itself; flatten it"
    is_object = isinstance(container, dict)
    steps = container.items() if isinstance(container, dict) else enumerate(container)
    for step, child in steps:
        if is_object and (problem := _key_problem(step)):
            return "", problem
        if fault := _find_fault(child, room):
            return _path(step) + fault[0], fault[1]
    return None


def _path(step: int | str) -> str:
    if isinstance(step, str) and step.isidentifier() and len(step) <= _SHOWN:
        return f".{step}"
    return f"[{_show(step)}]"


def _show(value: object) -> str:
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN + 2 else text[:_SHOWN] + "..."


def _key_problem(key: object) -> str | None:
    if isinstance(key, str):
        problem = _text_problem(key)
        return f"has the key {_show(key)}, which {problem}" if problem else None
    return f"has the key {_show(key)}, a {type(key).__name__}, but keys are text; use str(key)"


def _problem(value: object) -> str | None:
    if value is None or isinstance(value, _SENT_AS_TEXT):
        return None
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, int):
        return None if int(value) in _INTEGERS else "is beyond 64 bits; send it as text"
    if isinstance(value, float):
        return None if isfinite(value) else f"is {value}, which JSON cannot express; send None"
    name = type(value).__name__
    hint = "send its value" if isinstance(value, Enum) else _HINTS.get(name, _GENERAL_HINT)
    return f"is of type {name}, which JSON cannot express; {hint}"


def _text_problem(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        return f"contains half a surrogate pair at index {exc.start}; remove it"
    return None

"""Whether a value can be a setting, and what to say when it cannot: never a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from eventbus._config.urls import Secret, parse, redact
from eventbus.errors import ConfigurationError

#: A year: longer than anybody waits, and short enough for every platform's clock and lock.
MAX_SECONDS = 31_536_000.0

_PLAIN = re.compile(r"[\w.,+-]{0,80}")
_BROKER = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def shown(value: object) -> str:
    """How a message shows a value: never a secret."""
    if isinstance(value, str):
        return repr(value) if _PLAIN.fullmatch(value) else repr(Secret(value))
    if value is None or isinstance(value, int | float | timedelta):
        return repr(value)
    return f"a {type(value).__name__}"


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest one, and all there are."""
    # Only who misspells something waits for this import.
    from difflib import get_close_matches

    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"


def whole(field: str, value: Any, low: int, high: int | None = None) -> int:
    """The value, if it is a whole number in this range."""
    valid = isinstance(value, int) and not isinstance(value, bool)
    if valid and low <= value and (high is None or value <= high):
        return int(value)
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise ConfigurationError(f"{field} is {shown(value)}: use a whole number {allowed}")


def seconds(field: str, value: Any, *, zero: bool = False) -> float:
    """The value as a float, if it is a finite time above zero (or `zero` itself)."""
    valid = isinstance(value, int | float) and not isinstance(value, bool)
    if valid and (0 < value <= MAX_SECONDS or (zero and value == 0)):
        return float(value)
    low = "from 0" if zero else "above 0 and"
    raise ConfigurationError(
        f"{field} is {shown(value)}: use a number of seconds {low} up to {MAX_SECONDS:.0f}"
    )


def above_zero(field: str, value: Any) -> None:
    """Refuse what is no timedelta above zero."""
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{field} is {shown(value)}: use a timedelta above 0")


def named(field: str, value: Any, check: Callable[[str], str]) -> str:
    """The value as plain text, if it is a string that `check` finds no fault with."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{field} is {shown(value)}: use a string")
    try:
        return check(value)
    except ValueError as error:
        raise ConfigurationError(f"{field}: {_quiet(error, value)}") from None


def _quiet(error: ValueError, value: str) -> str:
    # The grammar's message quotes the name, which may be a URL pasted into the wrong field.
    if not set("@/:%") & set(value):
        return str(error)
    _, _, reason = str(error).rpartition(": ")
    return f"{redact(value)!r}: {reason}"


def file_path(field: str, value: Any) -> str:
    """The value as text, if it can be the path of a database file."""
    if not isinstance(value, str | os.PathLike) or not isinstance(path := os.fspath(value), str):
        raise ConfigurationError(f"{field} is {shown(value)}: use the path of a file")
    if "://" in path:
        raise ConfigurationError(f"{field} is {redact(path)!r}: use the path of a file, not a URL")
    if path == ":memory:" or path.startswith("file:"):
        raise ConfigurationError(
            f"{field} is {path!r}: use the path of a file "
            "(for events in the process alone, use the provider 'memory')"
        )
    if not path or path.endswith(("/", os.sep)) or "\0" in path:
        raise ConfigurationError(f"{field} is {path!r}: name a file, as in 'events.db'")
    return path


def brokers(field: str, value: Any) -> tuple[str, ...]:
    """The brokers in a string or sequence, if each is a host with or without a port."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not all(isinstance(broker, str) for broker in listed):
        raise ConfigurationError(f"{field} is {shown(value)}: use 'h1:9092,h2:9092'")
    found = tuple(stripped for broker in listed if (stripped := broker.strip()))
    if not found or not all(map(_is_broker, found)):
        raise ConfigurationError(
            f"{field} is {redact(','.join(found))!r}: list host:port, separated "
            "by commas, without a scheme, user or password, as in 'h1:9092,h2:9092'"
        )
    return found


def _is_broker(text: str) -> bool:
    _, _, port = text.rpartition(":")
    return bool(_BROKER.fullmatch(text)) and (not port.isdigit() or 0 < int(port) < 65536)


def server_url(field: str, url: Any, schemes: tuple[str, ...]) -> Secret:
    """The URL with its scheme in lower case, if it is well-formed and of one of these schemes."""
    form = f"{schemes[0]}://user:password@host:port"
    if not isinstance(url, str):
        raise ConfigurationError(f"{field} is {shown(url)}: use a URL like {form}")
    parts = parse(url)
    if parts is None:
        raise ConfigurationError(
            f"{field} is not a well-formed URL ({redact(url)!r}): write {form}, with special "
            "characters of user and password percent-encoded"
        )
    if parts.scheme not in schemes:
        known = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigurationError(f"{field} is {redact(url)!r}: use {known}")
    return Secret(parts.scheme + url[len(parts.scheme) :])

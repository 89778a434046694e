"""The name grammar, canonical patterns and wildcard matching: pure, and the same everywhere.

A name is made of segments of `A-Z a-z 0-9 _ -` joined by dots. In a pattern a segment may also
be `*` (exactly one segment) or `**` (zero or more), and the lone pattern `*` is `**` by another
name. The first segment `_eventbus` is the library's own: no name may use it, no pattern matches
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain, groupby, starmap

#: Longest topic (prefix, dot and type), group or pattern in bytes: Kafka stops at 249, RabbitMQ
#: at 255, and the transports add a few characters of their own.
MAX_BYTES = 200

#: First segment of everything the library keeps on a broker for itself.
RESERVED = "_eventbus"

_ALLOWED = "allowed are letters A-Z a-z, digits, '_' and '-', in segments joined by '.'"
_WILDCARDS = f"{_ALLOWED}, and '*' or '**' as a whole segment"
_SEGMENT = r"[A-Za-z0-9_-]+"
_BAD_CHARACTER = re.compile(r"[^A-Za-z0-9_.-]")
_BAD_IN_PATTERN = re.compile(r"[^A-Za-z0-9_.*-]|(?<=[^.*])\*|\*(?=[^.*])|\*\*\*")
_EMPTY_SEGMENT = re.compile(r"\A\.|\.(?=\.)|\.\Z")
_HASH_DIGITS = 24
_SHORTENED = re.compile(rf"-[0-9a-f]{{{_HASH_DIGITS}}}\Z")


def _check(name: str, what: str, bad: re.Pattern[str], allowed: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError(f"{what} is empty; {allowed}")
    if found := bad.search(name) or _EMPTY_SEGMENT.search(name):
        character, index = name[found.start()], found.start()
        raise ValueError(f"{what} {_cut(name)}: {character!r} at index {index}; {allowed}")
    if name.split(".", 1)[0] == RESERVED:
        raise ValueError(f"{what} {_cut(name)}: the first segment {RESERVED!r} is reserved")
    if len(name) > MAX_BYTES:
        raise ValueError(f"{what} {_cut(name)} has {len(name)} bytes, at most {MAX_BYTES} fit")
    # A StrEnum member or another subclass becomes the plain text that clients and encoders take.
    return str.__str__(name)


def _cut(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "...")


@lru_cache(maxsize=10_000)
def check_type(name: str) -> str:
    """Return the event type as plain text, or raise ValueError naming what is wrong with it."""
    return _check(name, "event type", _BAD_CHARACTER, _ALLOWED)


def check_group(name: str) -> str:
    """Return the consumer group as plain text, or raise ValueError naming what is wrong."""
    return _check(name, "consumer group", _BAD_CHARACTER, _ALLOWED)


def check_prefix(name: str) -> str:
    """Return the prefix as plain text (empty: none), or raise ValueError naming what is wrong."""
    return "" if name == "" else _check(name, "prefix", _BAD_CHARACTER, _ALLOWED)


def check_pattern(pattern: str) -> str:
    """Return the pattern as plain text, or raise ValueError naming what is wrong with it."""
    return _check(pattern, "pattern", _BAD_IN_PATTERN, _WILDCARDS)


@lru_cache(maxsize=10_000)
def topic_of(prefix: str, type: str) -> str:
    """Return the name on the broker: the type behind its prefix.

    Raises:
        ValueError: Either is no valid name, or together they are longer than `MAX_BYTES`.
    """
    topic = f"{check_prefix(prefix)}.{check_type(type)}" if prefix else check_type(type)
    if len(topic) > MAX_BYTES:
        raise ValueError(f"topic {_cut(topic)} has {len(topic)} bytes, at most {MAX_BYTES} fit")
    return topic


@lru_cache(maxsize=10_000)
def type_of(prefix: str, topic: str) -> str:
    """Return the event type of a topic.

    Raises:
        ValueError: The topic is outside the prefix, or what remains is no valid type.
    """
    if prefix and not topic.startswith(prefix + "."):
        raise ValueError(f"topic {_cut(topic)} is outside the prefix {prefix!r}")
    return check_type(topic[len(prefix) + 1 :] if prefix else topic)


def type_within(prefix: str, topic: str) -> str | None:
    """Return the event type of a topic; `None` where `type_of` raises."""
    try:
        return type_of(prefix, topic)
    except ValueError:
        return None


@lru_cache(maxsize=1_000)
def canonical(pattern: str) -> str:
    """Return the one spelling that all patterns of the same meaning share.

    In each run of wildcards every `*` comes first, then at most one `**`. A pattern that every
    name matches is `**`.
    """
    parts = groupby(check_pattern(pattern).split("."), lambda segment: segment in ("*", "**"))
    spelling = ".".join(chain.from_iterable(starmap(_ordered, parts)))
    # A name has at least one segment, so "one or more" is every name, too.
    return "**" if spelling in ("*", "*.**") else spelling


def _ordered(wild: bool, run: Iterable[str]) -> list[str]:
    segments = list(run)
    return ["*"] * segments.count("*") + ["**"] * ("**" in segments) if wild else segments


def with_prefix(prefix: str, pattern: str) -> str:
    """Return the canonical pattern for topics that a pattern for types means.

    `**` becomes `prefix.*.**`: the prefix alone is somebody else's event type.
    """
    spelling = canonical(pattern)
    if not check_prefix(prefix):
        return spelling
    return canonical(f"{prefix}.{'*.**' if spelling == '**' else spelling}")


def without_prefix(prefix: str, pattern: str) -> str | None:
    """Return the pattern for types that `with_prefix` was given; `None` outside the prefix."""
    if not prefix:
        return pattern
    if not pattern.startswith(prefix + "."):
        return None
    return canonical(pattern[len(prefix) + 1 :])


def is_literal(pattern: str) -> bool:
    """Whether the pattern names exactly one event type."""
    return "*" not in pattern


@lru_cache(maxsize=1_000)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a name matches the pattern.

    It takes any text; what is no valid name never matches a wildcard.
    """
    spelling = canonical(pattern)
    if is_literal(spelling):
        return spelling.__eq__
    fullmatch = re.compile(_regex(spelling)).fullmatch
    return lambda name: fullmatch("." + name) is not None


def matches(pattern: str, type: str) -> bool:
    """Whether the event type matches the pattern."""
    return matcher(pattern)(type)


def _regex(spelling: str) -> str:
    # Between two `**` the first place that fits is as good as any later one. The lookahead keeps
    # it (an atomic group, which `re` has from 3.11 on), so nothing backtracks exponentially.
    first, *blocks = [_block(block) for block in _blocks(spelling)]
    regex = rf"(?!\.{RESERVED}(?:\.|\Z))" + first
    for number, block in enumerate(blocks[:-1], start=1):
        regex += rf"(?=((?:\.{_SEGMENT})*?{block}(?=\.|\Z)))\{number}"
    return regex + (rf"(?:\.{_SEGMENT})*{blocks[-1]}" if blocks else "")


def _blocks(spelling: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for segment in spelling.split("."):
        if segment == "**":
            blocks.append([])
        else:
            blocks[-1].append(segment)
    return blocks


def _block(segments: list[str]) -> str:
    return "".join(rf"\.{_SEGMENT if s == '*' else re.escape(s)}" for s in segments)


def shorten(name: str, limit: int) -> str:
    """Return an ASCII name of at most `limit` bytes, a different one for each name.

    A name that fits stays as it is. A longer one keeps its beginning and ends in a hyphen and 24
    hexadecimal digits of its SHA-256, exactly `limit` long. The rare name that fits but has that
    very shape is shortened too, so a shortened name never equals another's own.

    Raises:
        ValueError: The limit leaves no room for the hash.
    """
    if limit < _HASH_DIGITS + 8:
        raise ValueError(f"limit must be at least {_HASH_DIGITS + 8} bytes, not {limit}")
    if len(name) < limit or (len(name) == limit and not _SHORTENED.search(name)):
        return name
    import hashlib  # Rarely needed, and slow to import.

    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[: limit - _HASH_DIGITS - 1]}-{digest}"

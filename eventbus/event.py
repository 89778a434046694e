"""The event: what is published and what a handler gets."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from datetime import datetime, timezone
from itertools import chain
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr

from eventbus._ids import new_id
from eventbus.patterns import check_type

#: Metadata may travel as message headers, which brokers and proxies bound about here.
MAX_METADATA_ENTRIES = 64
#: As above: keys and values together.
MAX_METADATA_BYTES = 8 * 1024
#: A key becomes a Kafka key, a column or a header; identifiers are far shorter.
MAX_KEY_BYTES = 200

is_id = re.compile(r"[A-Za-z0-9_.:-]{1,128}").fullmatch
_find_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_find_line_break = re.compile(r"[\r\n\x00]").search

_short = reprlib.Repr()
_short.maxlevel = 3
_short.maxstring = _short.maxother = 80
_SHORT_LENGTH = 200


def _now() -> datetime:
    return datetime.now(timezone.utc)


class _Positional(Struct, frozen=True):
    type: str
    payload: Any = None


class Event(_Positional, frozen=True, kw_only=True):
    """Something that happened: immutable, equal by value, hashed by id.

    Args:
        type: Its name, such as `user.created`.
        payload: Any JSON value.
        key: Events of one key are handled one at a time, in order.
        metadata: Text beside the payload; copied.
        id: Unique; a UUIDv7 by default.
        timestamp: When it happened, with a time zone; kept in UTC; now by default.
        attempt: On the handling side 1 for the first call of this handler, then 2, ….
        topic: On the handling side the type behind the prefix of the bus.

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A field is out of bounds; the message names it.
    """

    key: str | None = None
    metadata: Mapping[str, str] = {}
    id: str = field(default_factory=new_id)
    timestamp: datetime = field(default_factory=_now)
    attempt: int = 1
    topic: str = ""

    def __post_init__(self) -> None:
        # Decoding passes here as well, so each check is skipped where one look tells it may be.
        if check_type(self.type) is not self.type:
            force_setattr(self, "type", check_type(self.type))
        if type(self.id) is not str or not is_id(self.id):
            force_setattr(self, "id", _check_id(self.id))
        if getattr(self.timestamp, "tzinfo", None) is not timezone.utc:
            force_setattr(self, "timestamp", _to_utc(self.timestamp))
        if self.key is not None:
            force_setattr(self, "key", _check_key(self.key))
        force_setattr(self, "metadata", check_metadata(self.metadata))

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["timestamp"] = self.timestamp.isoformat()
        return f"Event({', '.join(f'{name}={_shorten(shown[name])}' for name in shown)})"


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return a checked copy; TypeError or ValueError names the entry that cannot be sent."""
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping of str to str, not {_name(metadata)}")
    copy = dict(metadata)
    if len(copy) > MAX_METADATA_ENTRIES:
        raise ValueError(f"metadata has {len(copy)} entries, at most {MAX_METADATA_ENTRIES} fit")
    if copy and not _is_plain(copy):
        copy = {_check_entry(key, key): _check_entry(key, copy[key]) for key in copy}
        size = sum(len(text.encode()) for text in chain.from_iterable(copy.items()))
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"metadata has {size} bytes, at most {MAX_METADATA_BYTES} fit")
    return copy


def _is_plain(metadata: dict[str, str]) -> bool:
    if set(map(type, chain.from_iterable(metadata.items()))) != {str}:
        return False
    text = "".join(chain.from_iterable(metadata.items()))
    return text.isascii() and text.isprintable() and len(text) <= MAX_METADATA_BYTES


def _check_entry(key: object, text: str) -> str:
    where = f"metadata[{_shorten(key)}]"
    _check_text(where, text)
    if found := _find_line_break(text):
        raise ValueError(f"{where} contains {found.group()!r}; it could not travel as a header")
    return str.__str__(text)


def _check_key(key: str) -> str:
    _check_text("key", key)
    if not key:
        raise ValueError("key is empty; use None for an event without one")
    if found := _find_control(key):
        raise ValueError(f"key {_shorten(key)} contains the control character {found.group()!r}")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"key {_shorten(key)} is longer than {MAX_KEY_BYTES} bytes")
    return str.__str__(key)


def _check_text(where: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{where} must be a str, not {_name(text)}; convert it with str()")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        character = text[exc.start]
        raise ValueError(f"{where} contains {character!r}, half a surrogate pair") from None


def _check_id(id: str) -> str:
    _check_text("id", id)
    if not is_id(id):
        raise ValueError(f"id {_shorten(id)} must be 1 to 128 of letters, digits and '_.:-'")
    return str.__str__(id)


def _to_utc(timestamp: datetime) -> datetime:
    if not isinstance(timestamp, datetime):
        raise TypeError(f"timestamp must be a datetime, not {_name(timestamp)}")
    if timestamp.utcoffset() is None:
        raise ValueError("timestamp has no time zone; use datetime.now(timezone.utc)")
    try:
        return timestamp.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"timestamp {timestamp} does not exist in UTC") from None


def _shorten(value: object) -> str:
    try:
        text = _short.repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits.
        text = f"<{_name(value)}>"
    return text if len(text) <= _SHORT_LENGTH else text[: _SHORT_LENGTH - 3] + "..."


def _name(value: object) -> str:
    return type(value).__name__


_copy_of_blank = Event("blank").__copy__  # type: ignore[attr-defined]


def assembled(
    type: str, payload: Any, id: str, timestamp: datetime, attempt: int, topic: str
) -> Event:
    """An event without key and metadata, of fields that were checked already.

    At a third of what making one costs: each event that is handled passes here.
    """
    event: Event = _copy_of_blank()
    force_setattr(event, "type", type)
    force_setattr(event, "payload", payload)
    force_setattr(event, "metadata", {})
    force_setattr(event, "id", id)
    force_setattr(event, "timestamp", timestamp)
    force_setattr(event, "attempt", attempt)
    force_setattr(event, "topic", topic)
    return event

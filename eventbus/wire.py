"""Event to bytes and back: a JSON object of exactly five fields, as the Go side has it.

    {"id":…,"type":…,"timestamp":"2026-01-31T12:00:00.123456Z","payload":…,"metadata":{…}}

`key`, `attempt` and `topic` are no part of it: they are up to the transport. Of a repeated field
the last one counts, unknown fields are ignored, both as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import msgspec

from eventbus._payload import MAX_DEPTH, check_payload, is_too_deep
from eventbus.errors import SerializationError
from eventbus.event import Event, assembled, check_metadata, is_id
from eventbus.patterns import topic_of

#: Kafka and NATS take no more than a mebibyte unless configured to; this leaves room for headers.
MAX_EVENT_BYTES = 1_000_000


class _Written(msgspec.Struct):
    id: str
    type: str
    timestamp: datetime
    payload: msgspec.Raw
    metadata: dict[str, str]


class _Read(msgspec.Struct):
    id: str
    type: str
    timestamp: str
    payload: Any = None
    metadata: dict[str, str] | None = None


class _ReadAtOnce(msgspec.Struct):
    id: str
    type: str
    timestamp: datetime
    payload: Any = None
    metadata: dict[str, str] | None = None


class _Identity(msgspec.Struct):
    id: str


# Subclasses that msgspec does not take for what they are, such as Django's SafeString.
_PLAIN: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (datetime, datetime.isoformat),
    (Decimal, Decimal.__str__),
)


def _to_plain(value: object) -> object:
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_to_json = msgspec.json.Encoder(enc_hook=_to_plain).encode
_read_any = msgspec.json.Decoder().decode
_read_event = msgspec.json.Decoder(_Read).decode
_read_at_once = msgspec.json.Decoder(_ReadAtOnce).decode
_read_identity = msgspec.json.Decoder(_Identity).decode
_ALL_DIGITS_NINE = bytes.maketrans(b"012345678", b"999999999")
#: Bytes in front of the timestamp of an event as `encode` writes it, without id and type.
_BEFORE_TIMESTAMP = len('{"id":"","type":"","timestamp":"')
# No 64-bit integer has fewer digits when it overflows; a float never prints as many.
_MANY_DIGITS = b"9" * 19
_parse_rfc3339 = re.compile(
    r"([0-9-]{10}T[0-9:]{8})(?:(\.[0-9]{1,6})[0-9]*)?(Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


def encode(event: Event, limit: int = MAX_EVENT_BYTES) -> bytes:
    """Return the event as bytes.

    Raises:
        SerializationError: It cannot be written so that every reader gets back what was meant;
            the message names the path to the offending value. Or it has more than `limit` bytes.
    """
    payload = msgspec.Raw(_encode_payload(event.payload))
    metadata = _checked_metadata(event) if event.metadata else {}
    data = _to_json(_Written(event.id, event.type, event.timestamp, payload, metadata))
    if len(data) > limit:
        raise SerializationError(
            f"event {event.id} ({event.type}) has {len(data)} bytes, more than max_event_bytes="
            f"{limit}; publish a reference to the data instead, or raise max_event_bytes"
        )
    return data


def _encode_payload(payload: object) -> bytes:
    # msgspec writes NaN as null, bytes as base64, and more that reads back as something else.
    # Reading back and comparing runs in C; only what differs (or a datetime) is walked in Python.
    try:
        data = _to_json(payload)
        whole = not is_too_deep(data, MAX_DEPTH) and _read_any(data) == payload
        if whole and _MANY_DIGITS not in data.translate(_ALL_DIGITS_NINE):
            return data
    except Exception as exc:
        check_payload(payload)
        raise SerializationError(f"payload cannot be sent: {exc}") from exc
    check_payload(payload)
    return data


def _checked_metadata(event: Event) -> dict[str, str]:
    try:
        return check_metadata(event.metadata)
    except (TypeError, ValueError) as exc:
        raise SerializationError(f"event {event.id} ({event.type}): {exc}") from exc


def decode(
    data: bytes, *, topic: str, prefix: str = "", key: str | None = None, attempt: int = 1
) -> Event:
    """Return the event that the bytes hold.

    Args:
        data: What `encode` or the Go side wrote.
        topic: Where they were found; it has to be the event's type behind the prefix.
        prefix: The prefix of the bus.
        key: The event's key, as the transport carried it.
        attempt: Which call of the handler this is going to be.

    Raises:
        SerializationError: They are no event of ours.
    """
    try:
        if is_too_deep(data, MAX_DEPTH + 1):
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        found, timestamp = _read(data)
        if topic_of(prefix, found.type) != topic:
            raise ValueError(f"its type is {found.type!r}, but it was found in topic {topic!r}")
        plain = key is None and not found.metadata and timestamp.tzinfo is timezone.utc
        if plain and is_id(found.id):
            return assembled(found.type, found.payload, found.id, timestamp, attempt, topic)
        return Event(
            found.type,
            found.payload,
            key=key,
            metadata=found.metadata or {},
            id=found.id,
            timestamp=timestamp,
            attempt=attempt,
            topic=topic,
        )
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as exc:
        raise SerializationError(f"not an event: {exc}") from exc


def identity(data: bytes) -> str | None:
    """The event's id, or `None` where the bytes are no event."""
    try:
        return _read_identity(data).id
    except (msgspec.MsgspecError, RecursionError):
        return None


def _read(data: bytes) -> tuple[_Read | _ReadAtOnce, datetime]:
    """Our own form is read in one step; others may have timestamps that msgspec would round."""
    try:
        quick = _read_at_once(data)
    except msgspec.MsgspecError:
        pass
    else:
        start = len(quick.id) + len(quick.type) + _BEFORE_TIMESTAMP
        end = start + 26
        if data[start + 10 : start + 11] == b"T" and data[end : end + 2] == b'Z"':
            return quick, quick.timestamp
    found = _read_event(data)
    return found, _read_timestamp(found.timestamp)


def _read_timestamp(text: str) -> datetime:
    # Our own form needs no parsing here; Go's up to nine digits would be rounded, not cut.
    if not (len(text) == 27 and text[10] == "T" and text[26] == "Z"):
        match = _parse_rfc3339(text)
        if not match:
            raise ValueError(f"timestamp {text[:40]!r} is not RFC 3339")
        text = "".join(part for part in match.groups() if part)
    return msgspec.convert(text, datetime)

"""Messages on the server: events, events for one handler, dead letters; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from struct import Struct
from typing import Any, NamedTuple

import msgspec
from pika import data as tables
from pika import spec

from ..base import DeadRecord, Parked, Record

KEY = "eventbus_key"
#: Header of what is for one handler, or due later: all that is not in the event.
CONTROL = "eventbus_control"
COUNT = "x-delivery-count"

_FLAGS = Struct(">H")
_LENGTH = Struct(">I")
_HEADERS, _MODE, _ID = 0x2000, 0x1000, 0x0080
_PERSISTENT = b"\x02"


class Outgoing(NamedTuple):
    """A message to be published; `properties` are encoded."""

    exchange: str
    key: str
    id: str
    properties: bytes
    body: bytes


class Control(msgspec.Struct, array_like=True):
    """What travels with an event that was parked or replayed."""

    group: str
    pattern: str
    handler: str | None
    topic: str
    key: str | None
    attempt: int
    due: datetime
    first_failed_at: datetime | None
    deaths: int
    #: How often nobody was there for its handler.
    waits: int = 0
    #: See `Delivery.origin`.
    origin: str = ""


_pack_control = msgspec.json.Encoder().encode
_unpack_control = msgspec.json.Decoder(Control).decode
pack_dead = msgspec.msgpack.Encoder().encode
unpack_dead = msgspec.msgpack.Decoder(DeadRecord).decode


def properties(id: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The properties of a durable message, as its header frame has them."""
    name = id.encode()[:255]
    tail = _PERSISTENT + bytes((len(name),)) + name
    if not headers:
        return _FLAGS.pack(_MODE | _ID) + tail
    pieces: list[bytes] = []
    tables.encode_table(pieces, dict(headers))
    return _FLAGS.pack(_HEADERS | _MODE | _ID) + b"".join(pieces) + tail


def read_properties(data: bytes) -> tuple[str, Mapping[str, Any]]:
    """Id and headers of any message; those of foreign ones may be anything."""
    flags = _FLAGS.unpack_from(data)[0]
    if flags == _MODE | _ID:
        return data[4 : 4 + data[3]].decode("utf-8", "replace"), {}
    try:
        decoded = spec.BasicProperties().decode(data)
    except Exception:  # Whatever a foreign client made of them.
        return "", {}
    return decoded.message_id or "", decoded.headers or {}


def event(record: Record, exchange: str) -> Outgoing:
    headers = None if record.key is None else {KEY: record.key}
    return Outgoing(
        exchange, record.topic, record.id, properties(record.id, headers), record.data
    )


def parked(item: Parked, id: str, queue: str) -> Outgoing:
    """An event for one handler, in the queue of its subscription or where it waits."""
    control = Control(
        item.subscription.group, item.subscription.pattern, item.handler, item.topic, item.key,
        item.attempt, item.due, item.first_failed_at, item.deaths, origin=item.origin,
    )
    return with_control(control, id, queue, item.data)


def with_control(control: Control, id: str, queue: str, body: bytes) -> Outgoing:
    headers = {CONTROL: _pack_control(control).decode()}
    return Outgoing("", queue, id, properties(id, headers), body)


def control_of(headers: Mapping[str, Any]) -> Control | None:
    """What came with an event for one handler; `None` for any other message."""
    text = headers.get(CONTROL)
    if not isinstance(text, str):
        return None
    try:
        return _unpack_control(text)
    except msgspec.MsgspecError:
        return None


def count_of(headers: Mapping[str, Any]) -> int:
    """How often a message has come back to its queue."""
    found = headers.get(COUNT, 0)
    return found if isinstance(found, int) else 0


def dead(record: DeadRecord, queue: str) -> Outgoing:
    return Outgoing("", queue, record.id, properties(record.id), pack_dead(record))


def now() -> datetime:
    return datetime.now(timezone.utc)

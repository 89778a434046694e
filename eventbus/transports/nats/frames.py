"""Messages as Watermill writes them, and as our inboxes and dead letters are kept; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from .. import watermill
from ..base import DeadRecord, Parked, Record

UUID = "_watermill_message_uuid"
#: By this id the server drops a second copy.
MESSAGE_ID = "Nats-Msg-Id"
#: Bytes that the frame around an event in our own streams needs, generously.
_ROOM = 4_096
_is_plain = re.compile(r"[!-$&-~]*").fullmatch
#: Printable ASCII, but for what the encoding itself needs; blanks at the ends would be lost.
_SAFE = "!\"#$&'()*+,/:;<=>?@[\\]^`{|}"

_pack = msgspec.msgpack.Encoder().encode


class InboxEntry(msgspec.Struct, array_like=True):
    """A parked event on the server."""

    topic: str
    handler: str | None
    key: str | None
    attempt: int
    due: datetime
    #: It was put here before it was due, so it is delivered once in vain.
    early: bool
    first_failed_at: datetime | None
    deaths: int
    data: bytes
    #: See `Delivery.origin`.
    origin: str = ""


unpack_inbox = msgspec.msgpack.Decoder(InboxEntry).decode
unpack_dead = msgspec.msgpack.Decoder(DeadRecord).decode


def headers(record: Record) -> dict[str, str]:
    """The headers of an event's message, sorted as Go sorts them."""
    found = {MESSAGE_ID: record.id, UUID: record.id}
    for name, value in sorted(watermill.metadata(record).items()):
        found[name] = _encoded(value)
    return found


def _encoded(value: str) -> str:
    """A header's value is one line of printable ASCII."""
    return value if _is_plain(value) else quote(value, _SAFE)


def key(headers: Mapping[str, str] | None) -> str | None:
    """The event's key, if its message has one."""
    found = headers.get(watermill.KEY) if headers else None
    return None if found is None else unquote(found)


def pack_parked(parked: Parked, now: datetime) -> bytes:
    return _pack(
        InboxEntry(
            parked.topic, parked.handler, parked.key, parked.attempt, parked.due,
            parked.due > now, parked.first_failed_at, parked.deaths, parked.data, parked.origin,
        )
    )


def pack_dead(record: DeadRecord, limit: int) -> bytes:
    """A dead letter; where it would not fit into a message, with less of its traceback."""
    packed = _pack(record)
    excess = len(packed) + _ROOM - limit
    if excess <= 0 or not record.traceback:
        return packed
    kept = record.traceback.encode()[excess:].decode(errors="ignore")
    return _pack(msgspec.structs.replace(record, traceback=kept))


class Position(NamedTuple):
    """Where a delivered message is: number of its delivery, place in its stream."""

    delivered: int
    sequence: int


def position(reply: str) -> Position:
    """Read the subject to which a message is acked.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>...`, in newer servers with the domain and
    the account in front of the stream.
    """
    parts = reply.split(".")
    first = 4 if len(parts) == 9 else 6
    return Position(int(parts[first]), int(parts[first + 1]))

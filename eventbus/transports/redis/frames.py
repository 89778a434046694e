"""Entries of streams, as Watermill writes them and as our inboxes keep them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from .. import watermill
from ..base import Parked, Record

UUID = "_watermill_message_uuid"
_METADATA, _PAYLOAD, _INBOX = b"metadata", b"payload", b"e"

_pack = msgspec.msgpack.Encoder().encode
_unpack_metadata = msgspec.msgpack.Decoder(dict[str, str]).decode


class Inbox(msgspec.Struct, array_like=True):
    """A parked event on the server; the id makes equal ones different."""

    id: str
    topic: str
    key: str | None
    attempt: int
    first_failed_at: datetime | None
    deaths: int
    data: bytes


_unpack_inbox = msgspec.msgpack.Decoder(Inbox).decode


def fields(record: Record) -> tuple[str | bytes, ...]:
    """What to `XADD` for a record."""
    found = watermill.metadata(record)
    return (
        UUID, record.id, "metadata", _pack(found) if found else b"", "payload", record.data
    )


def event(entry: Mapping[bytes, bytes]) -> tuple[bytes, str | None]:
    """Data and key of an entry; whatever a foreign writer put there comes through as it is."""
    data = entry.get(_PAYLOAD)
    if data is None:
        data = b" ".join(part for item in entry.items() for part in item)
    packed = entry.get(_METADATA)
    try:
        key = _unpack_metadata(packed).get(watermill.KEY) if packed else None
    except msgspec.MsgspecError:
        key = None
    return data, key


def pack_parked(parked: Parked, id: str) -> bytes:
    return _pack(
        Inbox(
            id, parked.topic, parked.key, parked.attempt, parked.first_failed_at, parked.deaths,
            parked.data,
        )
    )


def unpack_parked(entry: Mapping[bytes, bytes]) -> Inbox:
    return _unpack_inbox(entry[_INBOX])


def mapping(flat: Sequence[bytes] | None) -> dict[bytes, bytes]:
    """The fields of an entry as the server lists them."""
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}

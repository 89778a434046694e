"""Messages as Watermill writes them, and as our inboxes keep them; pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from .. import watermill
from ..base import DeadRecord, Parked, Record

UUID = "_watermill_message_uuid"
#: Header of a message in an inbox.
CONTROL = "eventbus_control"

Headers = list[tuple[str, str | bytes | None]]


class Control(msgspec.Struct, array_like=True):
    """What goes with a parked event."""

    group: str
    pattern: str
    handler: str | None
    topic: str
    attempt: int
    due: datetime
    first_failed_at: datetime | None = None
    deaths: int = 0
    #: See `Delivery.origin`.
    origin: str = ""


_pack_control = msgspec.json.Encoder().encode
_unpack_control = msgspec.json.Decoder(Control).decode
pack_dead = msgspec.msgpack.Encoder().encode
unpack_dead = msgspec.msgpack.Decoder(DeadRecord).decode


def headers(record: Record) -> Headers:
    """The headers of an event; its key is the message's key."""
    found: Headers = [(UUID, record.id)]
    about = watermill.metadata(record)
    about.pop(watermill.KEY, None)
    found += about.items()
    return found


def key_of(key: bytes | None) -> str | None:
    """The key as text; whatever a foreign writer put there stays one key."""
    return None if key is None else key.decode("utf-8", "backslashreplace")


def parked(item: Parked) -> Headers:
    """The headers of a parked event."""
    control = Control(
        item.subscription.group, item.subscription.pattern, item.handler, item.topic,
        item.attempt, item.due, item.first_failed_at, item.deaths, item.origin,
    )
    return [(UUID, str(uuid4())), (CONTROL, _pack_control(control))]


def control_of(found: Any) -> Control | None:
    """What a message in an inbox says; `None` if it is none of ours."""
    try:
        return _unpack_control(dict(found or ())[CONTROL])
    except (KeyError, msgspec.MsgspecError):
        return None

"""What Watermill puts around an event on Redis, Kafka and NATS, so that Go services read ours.

A message has the event's id, a map of texts (`event_type`, `timestamp`, and our own `eventbus_*`)
and the event's JSON as payload. Readers look at the payload alone.
"""

from __future__ import annotations

import msgspec

from .base import Record

#: Metadata under which the event's key travels.
KEY = "eventbus_key"


class _Head(msgspec.Struct):
    type: str
    timestamp: str


_read_head = msgspec.json.Decoder(_Head).decode


def metadata(record: Record) -> dict[str, str]:
    """The texts that go with a record; none for bytes that are no event."""
    try:
        head = _read_head(record.data)
    except (msgspec.MsgspecError, RecursionError):
        found = {}
    else:
        found = {"event_type": head.type, "timestamp": head.timestamp}
    if record.key is not None:
        found[KEY] = record.key
    return found

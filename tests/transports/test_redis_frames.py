"""The wire format on Redis, against messages that Watermill's own publisher wrote."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from eventbus.errors import SerializationError
from eventbus.transports.base import Record
from eventbus.transports.redis import frames
from eventbus.wire import decode

FIXTURE = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "watermill-redis.json").read_text("utf-8")
)
TOPIC = FIXTURE["topic"]
MESSAGES = {
    message["case"]: {
        name: base64.b64decode(value) for name, value in message["fields"].items()
    }
    for message in FIXTURE["messages"]
}
EVENTS = [case for case in MESSAGES if "foreign" not in case]


def entry(case: str) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in MESSAGES[case].items()}


def as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("case", EVENTS)
def test_what_go_wrote_is_read(case: str) -> None:
    data, key = frames.event(entry(case))

    event = decode(data, topic=TOPIC)

    assert data == MESSAGES[case]["payload"]
    assert key is None
    assert event.id == MESSAGES[case]["_watermill_message_uuid"].decode()


@pytest.mark.parametrize("case", EVENTS)
def test_the_same_event_is_written_with_the_same_bytes(case: str) -> None:
    wanted = MESSAGES[case]
    record = Record(wanted["_watermill_message_uuid"].decode(), TOPIC, wanted["payload"])

    flat = [as_bytes(value) for value in frames.fields(record)]

    written = dict(zip(flat[::2], flat[1::2], strict=True))
    assert written.keys() == entry(case).keys()
    assert written[b"payload"] == wanted["payload"]
    assert written[b"_watermill_message_uuid"] == wanted["_watermill_message_uuid"]
    # Go's map has no order; each of the two orders is as long and as good.
    assert len(written[b"metadata"]) == len(wanted["metadata"])
    assert msgspec.msgpack.decode(written[b"metadata"]) == msgspec.msgpack.decode(
        wanted["metadata"]
    )
    in_their_order = msgspec.msgpack.decode(wanted["metadata"], type=dict[str, str])
    assert msgspec.msgpack.encode(in_their_order) == wanted["metadata"]


def test_a_foreign_message_keeps_its_bytes_and_is_no_event() -> None:
    (case,) = set(MESSAGES) - set(EVENTS)

    data, _ = frames.event(entry(case))

    assert data == MESSAGES[case]["payload"]
    with pytest.raises(SerializationError):
        decode(data, topic=TOPIC)


def test_a_key_travels_as_metadata() -> None:
    flat = [as_bytes(value) for value in frames.fields(Record("id", "a.b", b"?", "customer-7"))]

    _, key = frames.event(dict(zip(flat[::2], flat[1::2], strict=True)))

    assert key == "customer-7"


@pytest.mark.parametrize("metadata", [None, b"", b"\x80", b"\xc0", b"\x81\xa1a\x01", b"junk"])
def test_strange_metadata_does_not_hide_an_event(metadata: bytes | None) -> None:
    found = {b"payload": b"{}"} if metadata is None else {b"payload": b"{}", b"metadata": metadata}

    assert frames.event(found) == (b"{}", None)


def test_an_entry_without_payload_is_kept_as_a_whole() -> None:
    data, _ = frames.event({b"temperature": b"21"})

    assert data == b"temperature 21"

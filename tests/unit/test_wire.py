"""Events as bytes: what is written can be read, and what cannot be written is refused."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Event, SerializationError
from eventbus.wire import decode, encode

FIXTURES = Path(__file__).parents[1] / "fixtures"
texts = st.text(st.characters(exclude_categories=("Cs",)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_is_read_back(payload):
    event = Event("a.b", payload, metadata={"trace": "1"})
    data = encode(event)
    again = decode(data, topic="a.b")
    assert again.payload == payload
    assert (again.id, again.timestamp, again.metadata) == (
        event.id, event.timestamp, event.metadata,
    )
    assert list(json.loads(data)) == ["id", "type", "timestamp", "payload", "metadata"]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_an_event_or_a_serialization_error(data):
    with pytest.raises(SerializationError):
        decode(data, topic="a.b")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def cyclic():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"a": [1, float("nan")]}, r"payload\.a\[1\]"),
        ({"x": float("inf")}, r"payload\.x"),
        ({"s": "\ud800"}, r"payload\.s"),
        ({"n": 10**4999}, r"payload\.n"),
        ({1: "a"}, "payload"),
        ({"b": b"bytes"}, r"payload\.b"),
        ({"o": {"p": object()}}, r"payload\.o\.p"),
        ([{1, 2}], r"payload\[0\]"),
        (deep(100_000), "nested"),
        (cyclic(), "nested|itself"),
    ],
    ids=["nan", "infinity", "surrogate", "5000-digits", "key", "bytes", "object", "set", "deep",
         "cycle"],
)
def test_what_is_no_json_is_refused_with_its_path(payload, message):
    with pytest.raises(SerializationError, match=message):
        encode(Event("a.b", payload))


def test_a_payload_of_100_mb_is_refused_with_size_and_limit():
    with pytest.raises(SerializationError, match="max_event_bytes"):
        encode(Event("a.b", "x" * 100_000_000))


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{}", b'\xef\xbb\xbf{"id":"1"}', '{"id":"1"}'.encode("utf-16"),
     b'{"id":"1","type":"a.b","timestamp":"2026-01-01T00:00:00","payload":1,"metadata":{}}',
     b'{"id":"1","type":"a.c","timestamp":"2026-01-01T00:00:00Z","payload":1,"metadata":{}}',
     b'{"id":1,"type":"a.b","timestamp":"2026-01-01T00:00:00Z","payload":1,"metadata":{}}',
     b'{"id":"1","type":"a.b","timestamp":"2026-01-01T00:00:00Z","payload":NaN,"metadata":{}}'],
    ids=["empty", "null", "list", "object", "bom", "utf-16", "naive", "type", "id", "nan"],
)
def test_foreign_bytes_are_refused(data):
    with pytest.raises(SerializationError):
        decode(data, topic="a.b")


@pytest.mark.parametrize("fraction", ["", ".1", ".123456", ".123456789"])
def test_timestamps_as_go_writes_them_are_read(fraction):
    text = f'{{"id":"1","type":"a","timestamp":"2026-01-02T03:04:05{fraction}Z"}}'
    event = decode(text.encode(), topic="a")
    micro = int((fraction[1:] + "000000")[:6])
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, micro, timezone.utc)
    assert event.metadata == {}


def go_events():
    fixture = json.loads((FIXTURES / "watermill-redis.json").read_text())
    for message in fixture["messages"]:
        yield pytest.param(
            fixture["topic"], base64.b64decode(message["fields"]["payload"]),
            id=message["case"][:30],
        )


@pytest.mark.parametrize(("topic", "data"), list(go_events()))
def test_events_that_go_wrote_are_read_and_foreign_ones_refused(topic, data):
    if b'"type"' in data:
        event = decode(data, topic=topic)
        assert event.payload == json.loads(data)["payload"]
    else:
        with pytest.raises(SerializationError):
            decode(data, topic=topic)

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


def _compact(fields):
    return json.dumps(fields, separators=(",", ":")).encode()


@pytest.mark.parametrize("order", [("id", "type", "timestamp"), ("timestamp", "type", "id")])
@pytest.mark.parametrize(
    ("text", "micro"),
    [("2026-01-02T03:04:05.123456Z", 123456), ("2026-01-02T03:04:05.1234569Z", 123456),
     ("2026-01-02T04:04:05.1234569+01:00", 123456), ("2026-01-02T03:04:05Z", 0)],
)
def test_timestamps_are_cut_and_not_rounded_wherever_they_stand(order, text, micro):
    fields = {"id": "1", "type": "a", "timestamp": text}
    event = decode(_compact({name: fields[name] for name in order}), topic="a")
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, micro, timezone.utc)
    assert event.timestamp.tzinfo is timezone.utc


@pytest.mark.parametrize("text", ["2026-01-02 03:04:05.123456Z", "2026-01-02t03:04:05.123456Z"])
def test_timestamps_that_look_like_ours_are_refused(text):
    data = f'{{"id":"1","type":"a","timestamp":"{text}","payload":1,"metadata":{{}}}}'
    with pytest.raises(SerializationError, match="RFC 3339"):
        decode(data.encode(), topic="a")


@pytest.mark.parametrize("id", ["", "two words", "x" * 129])
def test_ids_that_could_not_be_published_are_refused(id):
    data = f'{{"id":"{id}","type":"a","timestamp":"2026-01-02T03:04:05.123456Z"}}'
    with pytest.raises(SerializationError, match="id"):
        decode(data.encode(), topic="a")


def test_events_that_are_read_share_nothing():
    data = encode(Event("a", {"x": 1}))
    first, second = decode(data, topic="a"), decode(data, topic="a", attempt=2)
    assert first == Event(
        "a", {"x": 1}, id=first.id, timestamp=first.timestamp, attempt=1, topic="a"
    )
    assert (second.attempt, hash(second)) == (2, hash(first))
    assert first.metadata is not second.metadata
    assert first.payload is not second.payload


#: Where a client finds the payload in a message of each transport.
PAYLOADS = {
    "redis": lambda message: base64.b64decode(message["fields"]["payload"]),
    "kafka": lambda message: base64.b64decode(message["value"]),
    "rabbitmq": lambda message: base64.b64decode(message["body"]),
    "nats": lambda message: base64.b64decode(message["data"]),
    "postgres": lambda message: message["payload"].encode(),
    "sqlite": lambda message: base64.b64decode(message["payload"]),
}


def go_messages(foreign):
    for transport, payload in PAYLOADS.items():
        fixture = json.loads((FIXTURES / f"watermill-{transport}.json").read_text("utf-8"))
        for message in fixture["messages"]:
            if message["case"].startswith("foreign") == foreign:
                name = f"{transport}-{message['case'][:24]}"
                yield pytest.param(fixture["topic"], payload(message), id=name)


def test_every_transport_has_six_events_and_one_foreign_message():
    assert len(list(go_messages(foreign=False))) == 6 * len(PAYLOADS)
    assert len(list(go_messages(foreign=True))) == len(PAYLOADS)


@pytest.mark.parametrize(("topic", "data"), list(go_messages(foreign=False)))
def test_events_that_go_wrote_are_read(topic, data):
    event, written = decode(data, topic=topic), json.loads(data)
    assert (event.id, event.type, event.topic) == (written["id"], topic, topic)
    assert (event.payload, event.metadata) == (written["payload"], written["metadata"])
    whole, _, fraction = written["timestamp"].removesuffix("Z").partition(".")
    at = datetime.strptime(whole + "Z", "%Y-%m-%dT%H:%M:%S%z")
    assert event.timestamp == at.replace(microsecond=int(fraction[:6].ljust(6, "0")))


@pytest.mark.parametrize(("topic", "data"), list(go_messages(foreign=False)))
def test_events_that_go_wrote_are_written_back_the_same(topic, data):
    event = decode(data, topic=topic)
    assert decode(encode(event), topic=topic) == event


@pytest.mark.parametrize(("topic", "data"), list(go_messages(foreign=True)))
def test_a_message_of_somebody_else_is_refused(topic, data):
    with pytest.raises(SerializationError, match=r"not an event: .*`id`"):
        decode(data, topic=topic)


def test_100000_levels_are_refused_when_read():
    nested = b"[" * 100_000 + b"]" * 100_000
    data = b'{"id":"1","type":"a","timestamp":"2026-01-01T00:00:00Z","payload":' + nested + b"}"
    with pytest.raises(SerializationError, match="nested deeper than 100 levels"):
        decode(data, topic="a")


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (float("nan"), "payload is nan, which JSON cannot express; send None"),
        (float("-inf"), "payload is -inf, which JSON cannot express; send None"),
        ("a\udfff", "payload contains half a surrogate pair at index 1; remove it"),
        (10**4999, "payload is beyond 64 bits; send it as text"),
        (-(2**63) - 1, "payload is beyond 64 bits; send it as text"),
        (2**64, "payload is beyond 64 bits; send it as text"),
        (b"", "payload is of type bytes, which JSON cannot express; send text, for example base64"),
        ({1}, "payload is of type set, which JSON cannot express; send sorted(...) of it"),
        ({1: 2}, "payload has the key 1, a int, but keys are text; use str(key)"),
        ({"\ud800": 2}, "payload has the key '\\ud800', which contains half a surrogate pair"),
        (deep(100), "is nested deeper than 100 levels or contains itself; flatten it"),
    ],
    ids=["nan", "infinity", "surrogate", "5000-digits", "below", "above", "bytes", "set",
         "int-key", "surrogate-key", "deep"],
)
def test_the_message_says_what_is_wrong_and_what_to_do(payload, message):
    with pytest.raises(SerializationError) as caught:
        encode(Event("a.b", payload))
    assert message in str(caught.value)


@pytest.mark.parametrize("payload", [2**64 - 1, -(2**63), deep(99)], ids=["max", "min", "deep"])
def test_the_largest_that_fits_is_read_back(payload):
    assert decode(encode(Event("a", payload)), topic="a").payload == payload

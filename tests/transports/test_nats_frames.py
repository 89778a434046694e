"""The wire format on NATS, against messages that Watermill's own publisher wrote."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import EventBus, NATSConfig
from eventbus.errors import SerializationError
from eventbus.transports.base import DeadRecord, Record, SubscriptionId
from eventbus.transports.nats import frames
from eventbus.wire import decode
from tests.conformance.target import Received
from tests.servers import provide
from tests.transports import nats_streams

pytestmark = pytest.mark.nats

FIXTURE = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "watermill-nats.json").read_text("utf-8")
)
TOPIC = FIXTURE["topic"]
MESSAGES: dict[str, dict[str, Any]] = {m["case"]: m for m in FIXTURE["messages"]}
EVENTS = [case for case in MESSAGES if "foreign" not in case]
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def data(case: str) -> bytes:
    return base64.b64decode(MESSAGES[case]["data"])


def record(case: str, key: str | None = None) -> Record:
    return Record(MESSAGES[case]["headers"][frames.UUID], TOPIC, data(case), key)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    yield provide("nats")


@pytest.fixture
def bus(url: str) -> Iterator[EventBus]:
    nats_streams.delete_all(url)
    with EventBus(nats=NATSConfig(url=url), provider="nats", group="g", environ={}) as bus:
        yield bus


def stored(url: str, stream: str = "eventbus") -> tuple[bytes, bytes]:
    """Headers and data of the last message, as the server has them."""
    (answer,) = nats_streams.api(url, (f"STREAM.MSG.GET.{stream}", {"last_by_subj": TOPIC}))
    message = answer["message"]
    return base64.b64decode(message["hdrs"]), base64.b64decode(message["data"])


@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_stored_has_the_bytes_of_go(bus: EventBus, url: str, case: str) -> None:
    bus._engine.transport.publish([record(case)], timeout=5, wait=True)

    headers, content = stored(url)

    ours = f"{frames.MESSAGE_ID}: {record(case).id}\r\n".encode()
    assert headers.count(ours) == 1
    assert headers.replace(ours, b"") == base64.b64decode(MESSAGES[case]["header_block"])
    assert content == data(case)


@pytest.mark.parametrize("case", EVENTS)
def test_what_go_wrote_is_handled(bus: EventBus, url: str, case: str) -> None:
    received = Received()
    bus.subscribe(TOPIC, received)

    nats_streams.publish(url, TOPIC, data(case), MESSAGES[case]["headers"])

    event = received.wait(1)[0]
    assert (event.id, event.topic, event.key) == (record(case).id, TOPIC, None)
    assert event == decode(data(case), topic=TOPIC)


def test_a_foreign_message_keeps_its_bytes_and_is_no_event() -> None:
    (case,) = set(MESSAGES) - set(EVENTS)
    with pytest.raises(SerializationError):
        decode(data(case), topic=TOPIC)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=50))
def test_a_key_travels_as_a_header(key: str) -> None:
    headers = frames.headers(record(EVENTS[0], key))

    assert frames.key(headers) == key
    for value in headers.values():
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()


@pytest.mark.parametrize("key", [" x ", "Zoë 王", "50%", "a: b", "%20"])
def test_a_key_survives_the_server(bus: EventBus, key: str) -> None:
    received = Received()
    bus.subscribe("user.created", received)

    bus.publish("user.created", 1, key=key)

    assert received.wait(1)[0].key == key


def test_no_value_can_add_a_header() -> None:
    evil = b'{"type":"a\\r\\nX: y","timestamp":"2026"}'

    headers = frames.headers(Record("id", "a.b", evil))

    assert headers["event_type"] == "a%0D%0AX:%20y"


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("$JS.ACK.eventbus.g,a=b.3.17.12.1795554777106693355.4", (3, 17)),
        ("$JS.ACK.hub.hash.eventbus.g,a=b.3.17.12.1795554777106693355.4", (3, 17)),
        ("$JS.ACK.hub.hash.eventbus.g,a=b.3.17.12.1795554777106693355.4.random", (3, 17)),
    ],
)
def test_the_place_of_a_message_is_read_from_its_reply(reply: str, place: object) -> None:
    assert frames.position(reply) == place


def test_a_dead_letter_that_would_not_fit_has_less_of_its_traceback() -> None:
    dead = DeadRecord(
        id="x", subscription=SubscriptionId("g", "a"), handler="h", topic="a", data=b"d" * 9_000,
        key=None, event_id="e", reason="failed", error="E", traceback="é" * 2_000 + "cause",
        attempts=1, first_failed_at=NOW, failed_at=NOW,
    )

    packed = frames.pack_dead(dead, 16_000)

    again = frames.unpack_dead(packed)
    assert len(packed) <= 16_000
    assert again.data == dead.data
    assert again.traceback.endswith("cause")
    assert frames.unpack_dead(frames.pack_dead(dead, 1_000_000)) == dead

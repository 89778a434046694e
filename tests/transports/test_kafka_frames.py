"""Kafka without a broker: bytes as Watermill writes them, notes of commits, tracked offsets."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import ConfigurationError, KafkaConfig, SerializationError
from eventbus._config.librdkafka import REFUSED
from eventbus.transports.base import Delivery, Parked, Record, SubscriptionId
from eventbus.transports.kafka import frames, names
from eventbus.transports.kafka.notes import LIMIT, Note, Skips, pack, ranges, unpack
from eventbus.transports.kafka.share import Share
from eventbus.wire import decode

FIXTURE = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "watermill-kafka.json").read_text("utf-8")
)
MESSAGES = [pytest.param(m, id=m["case"]) for m in FIXTURE["messages"]]
ID = SubscriptionId("mailer", "user.created")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.mark.parametrize("message", MESSAGES)
def test_our_messages_are_byte_equal_to_watermills(message: dict) -> None:
    theirs = [(name, _bytes(value)) for name, value in message["headers"]]
    record = Record(theirs[0][1].decode(), FIXTURE["topic"], _bytes(message["value"]))

    ours = [(name, value.encode()) for name, value in frames.headers(record)]  # type: ignore[union-attr]

    assert ours[0] == theirs[0]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("message", MESSAGES)
def test_watermills_messages_are_read(message: dict) -> None:
    data = _bytes(message["value"])
    if message["case"].startswith("foreign"):
        with pytest.raises(SerializationError):
            decode(data, topic=FIXTURE["topic"])
        return
    event = decode(data, topic=FIXTURE["topic"])
    assert event.payload == json.loads(data)["payload"]


def test_a_key_is_the_messages_key_and_no_header() -> None:
    record = Record("1", "a.b", b'{"type":"a.b","timestamp":"2026-01-01T00:00:00Z"}', "k")
    assert [name for name, _ in frames.headers(record)] == [
        "_watermill_message_uuid", "event_type", "timestamp",
    ]


@pytest.mark.parametrize(
    ("key", "read"), [(None, None), (b"", ""), (b"7", "7"), (b"\xff", r"\xff")]
)
def test_any_key_can_be_read(key: bytes | None, read: str | None) -> None:
    assert frames.key_of(key) == read


def test_a_parked_event_keeps_what_it_is() -> None:
    due = datetime(2026, 1, 1, tzinfo=timezone.utc)
    item = Parked(
        subscription=ID, handler="h", topic="user.created", data=b"", key="k", attempt=3, due=due,
        deaths=2, origin="letter",
    )
    found = frames.control_of(frames.parked(item))
    assert found == frames.Control(
        "mailer", "user.created", "h", "user.created", 3, due, None, 2, "letter"
    )
    assert frames.control_of([("other", b"x")]) is None
    assert frames.control_of([(frames.CONTROL, b"x")]) is None


def test_a_literal_pattern_keeps_the_groups_name() -> None:
    assert names.group_of(ID) == "mailer"
    assert names.group_of(SubscriptionId("mailer", "user.*")) == "mailer|user.*"


def test_inboxes_differ_by_handler_group_and_pattern() -> None:
    ids = [ID, SubscriptionId("mailer", "user.*"), SubscriptionId("other", "user.created")]
    topics = {names.inbox(id, handler) for id in ids for handler in (None, "a", "b", "all")}
    assert len(topics) == 12
    assert all(names.is_inbox_of(names.inbox(id, "a"), id) for id in ids)
    assert not names.is_inbox_of(names.inbox(ids[1], "a"), ID)
    assert not any(map(names.is_event, topics))


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_ranges_tell_exactly_what_is_done(unfinished: set[int], end: int) -> None:
    pending = sorted(n for n in unfinished if n < end)
    lowest = pending[0] if pending else end

    skips = Skips(lowest, ranges(lowest, end, pending))

    done = {n for n in range(lowest, end) if n not in pending}
    assert {n for n in range(100) if n in skips} == done
    assert skips.count == len(done)
    assert skips.below(30) == len([n for n in done if n < 30])


def test_a_note_never_grows_beyond_what_a_broker_takes() -> None:
    note = Note("birth", "topic", "owner", done=[1, 1] * 5_000)
    text = pack(note)
    assert len(text) <= LIMIT
    kept = unpack(text)
    assert kept is not None
    assert kept.done == [1, 1] * (len(kept.done) // 2)


@pytest.mark.parametrize("text", [None, "", "sarama", "{}", "[1]"])
def test_notes_of_others_are_none_of_ours(text: str | None) -> None:
    assert unpack(text) is None


def _share(start: int = 0, done: list[int] | None = None, **about: int) -> Share:
    return Share("t", 0, start, Note("b", "t", "me", **about), Skips(start, done or []))  # type: ignore[arg-type]


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_next_owner_takes_up_exactly_what_is_left(order: list[int], number: int) -> None:
    share = _share()
    assert all(map(share.takes, range(12)))
    for offset in order[:number]:
        share.settled(offset)

    offset, text = share.position(False)
    note = unpack(text)
    assert note is not None
    successor = _share(offset, note.done)

    assert [n for n in range(offset, 12) if successor.takes(n)] == sorted(order[number:])
    # And once more, before it has read anything.
    again = _share(*_shape(_share(offset, note.done)))
    assert [n for n in range(offset, 12) if again.takes(n)] == sorted(order[number:])


def _shape(share: Share) -> tuple[int, list[int]]:
    offset, text = share.position(False)
    note = unpack(text)
    assert note is not None
    return offset, note.done


def test_gaps_in_offsets_are_no_events() -> None:
    share = _share(5)
    assert share.takes(5)
    assert share.takes(9)
    share.settled(5)
    assert share.lowest == 9
    share.settled(9)
    assert share.lowest == 10
    assert not share.takes(9)


def test_what_was_given_back_comes_in_the_order_of_offsets() -> None:
    share = _share()
    for offset in range(3):
        share.takes(offset)
    for offset in (2, 0, 1):
        share.give_back(offset, Delivery("t", b"", None))
    assert sorted(offset for offset, _ in share.returned) == [0, 1, 2]
    assert share.returned[0][0] == 0


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_break_a_promise_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be set"):
        KafkaConfig(brokers="h:1", client={name: "1"})


def test_other_settings_pass_and_unknown_ones_are_named() -> None:
    assert KafkaConfig(brokers="h:1", client={"socket.timeout.ms": 5000}).client
    with pytest.raises(ConfigurationError, match="have dots"):
        KafkaConfig(brokers="h:1", client={"socket_timeout_ms": 5000})
    with pytest.raises(ConfigurationError, match="no mapping"):
        KafkaConfig(brokers="h:1", client="x")  # type: ignore[arg-type]


def test_a_password_is_never_shown() -> None:
    config = KafkaConfig(brokers="h:1", username="u", password="CANARY")
    assert "CANARY" not in repr(config)
    with pytest.raises(ConfigurationError, match="without a username"):
        KafkaConfig(brokers="h:1", password="x")

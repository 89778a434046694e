"""Events check themselves when they are made."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from eventbus import Event


def test_an_event_has_an_id_and_a_time_of_its_own():
    one, other = Event("a.b"), Event("a.b")
    assert one.id != other.id
    assert UUID(one.id).version == 7
    assert one.timestamp.utcoffset() == timedelta(0)


def test_ids_sort_by_time():
    ids = [Event("a").id for _ in range(3000)]
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)
    assert len(set(ids)) == 3000


def test_a_forked_child_makes_ids_of_its_own():
    Event("a")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, Event("a").id[14:].encode())
        os._exit(0)
    os.waitpid(pid, 0)
    child = os.read(reader, 100).decode()
    os.close(reader), os.close(writer)
    assert child not in {Event("a").id[14:] for _ in range(600)}


def test_a_naive_timestamp_says_what_to_use():
    with pytest.raises(ValueError, match="timezone"):
        Event("a", timestamp=datetime(2026, 1, 1))


def test_another_zone_becomes_utc():
    zone = timezone(timedelta(hours=2))
    event = Event("a", timestamp=datetime(2026, 1, 1, 2, tzinfo=zone))
    assert event.timestamp == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert event.timestamp.tzinfo == timezone.utc


@pytest.mark.parametrize(
    "wrong",
    [{"metadata": {"a": 1}}, {"metadata": {"a": "x\r\ny"}}, {"key": ""}, {"key": "\ud800"},
     {"key": 7}, {"id": ""}, {"id": "a b"}, {"metadata": {str(n): "" for n in range(100)}}],
)
def test_wrong_fields_are_named(wrong):
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        Event("a", **wrong)


def test_an_event_is_frozen_and_equal_by_value():
    event = Event("a", {"n": 1})
    with pytest.raises(AttributeError):
        event.payload = 2
    assert event == Event("a", {"n": 1}, id=event.id, timestamp=event.timestamp)


def test_the_repr_of_a_huge_payload_is_short():
    assert len(repr(Event("a", ["x" * 1000] * 1000))) < 2000

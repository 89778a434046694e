"""`record` and the assertions on what it has seen."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone
from decimal import Decimal
from threading import Thread
from time import monotonic
from uuid import UUID

import pytest

from eventbus import Event, EventBus, MemoryConfig, PublishError, SerializationError
from eventbus._engine import lifecycle
from eventbus.testing import ANY, record


@pytest.fixture
def bus():
    with EventBus("memory:", group="test", environ={}) as bus:
        yield bus


@pytest.fixture
def published(bus):
    with record(bus) as published:
        yield published


def failure(assertion, *arguments, **filters):
    with pytest.raises(AssertionError) as caught:
        assertion(*arguments, **filters)
    return str(caught.value)


# -- what is recorded ------------------------------------------------------------------------


def test_every_way_of_publishing_in_order(bus, published):
    bus.publish("a.one", 1)
    bus.publish_many([("a.two", 2), Event("a.three", 3)])
    bus.publish_soon("a.four", 4).result(5)

    assert published.types == ["a.one", "a.two", "a.three", "a.four"]
    assert [event.payload for event in published] == [1, 2, 3, 4]


def test_equals_what_publish_returned(bus, published):
    event = bus.publish("a.b", {"n": [1]}, key="k", metadata={"m": "x"})

    assert published[0] == event
    assert published[:] == [event]


def test_a_payload_is_as_handlers_get_it_at_the_time(bus, published):
    payload = {"price": Decimal("1.50"), "lines": (1, 2)}
    bus.publish("a.b", payload)
    payload["price"] = 0

    assert published[0].payload == {"price": "1.50", "lines": [1, 2]}


def test_a_type_is_without_the_prefix():
    with EventBus("memory:", group="g", prefix="staging", environ={}) as bus, record(bus) as seen:
        bus.publish("a.b")

    assert seen.types == ["a.b"]


def test_events_reach_their_handlers_as_ever(bus, published):
    bus.on("a.b", lambda event: bus.publish("a.c", event.payload), name="h")
    bus.start()
    bus.publish("a.b", 7)

    published.assert_published("a.c", payload=7, timeout=5.0)
    assert published.types == ["a.b", "a.c"]


def test_an_answer_comes_after_what_it_answers(bus, published):
    bus.on("question", lambda event: bus.publish("answer", event.payload), name="h")
    bus.start()
    for number in range(200):
        bus.publish("question", number)
    published.assert_published("answer", count=200, timeout=10.0)

    order = [(event.payload, event.type) for event in published]
    assert all(order.index((n, "question")) < order.index((n, "answer")) for n in range(200))


def test_what_could_not_be_published_is_not_recorded(bus, published):
    with pytest.raises(SerializationError, match=r"payload\.when"):
        bus.publish("a.b", {"when": {1, 2}})
    bus.close()
    with pytest.raises(Exception, match="closed"):
        bus.publish("a.b")

    published.assert_nothing_published()


def test_of_a_batch_that_failed_only_what_was_stored():
    bus = EventBus(
        "memory:", group="g", environ={}, publish_timeout=0.2, memory=MemoryConfig(buffer_size=2)
    )
    with bus, record(bus) as published:
        bus._engine.transport.declare(bus._engine.subscription_id("a.b", None), "latest")
        with pytest.raises(PublishError):
            bus.publish_many([("a.b", 1), ("a.b", 2), ("a.b", 3)])
        refused = bus.publish_soon("a.b", 4)
        assert isinstance(refused.exception(5), PublishError)

        assert [event.payload for event in published] == [1, 2]


def test_events_in_the_callers_transaction(tmp_path):
    path = tmp_path / "events.db"
    with EventBus(f"sqlite:///{path}", group="g", environ={}) as bus, record(bus) as published:
        bus.publish("a.b")
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE orders (id)")
        connection.execute("INSERT INTO orders VALUES (1)")
        bus.publish("a.c", connection=connection)
        connection.commit()
        connection.close()

    assert published.types == ["a.b", "a.c"]


def test_nothing_leaves_without_forwarding(bus):
    handled = []
    bus.on("a.b", handled.append, name="h")
    bus.start()
    with record(bus, forward=False) as published:
        bus.publish("a.b", 1)
    bus.publish("a.b", 2)
    assert bus.join(5)

    assert [event.payload for event in published] == [1]
    assert [event.payload for event in handled] == [2]


def test_without_forwarding_no_broker_is_touched(tmp_path):
    path = tmp_path / "events.db"
    bus = EventBus(f"sqlite:///{path}", group="g", environ={})
    with record(bus, forward=False) as published:
        bus.subscribe("a.b", lambda event: None, name="h")
        bus.publish("a.b")
        with pytest.raises(SerializationError):
            bus.publish("a.b", object())
    bus.close()

    assert published.types == ["a.b"]
    assert not path.exists()


def test_several_recordings_of_one_bus(bus):
    with record(bus) as outer:
        bus.publish("a.one")
        with record(bus) as inner:
            bus.publish("a.two")
        bus.publish("a.three")
    bus.publish("a.four")

    assert outer.types == ["a.one", "a.two", "a.three"]
    assert inner.types == ["a.two"]


def test_afterwards_the_bus_is_as_before(bus):
    engine = bus._engine
    with record(bus):
        pass

    assert bus._engine is engine


def test_blocks_may_end_in_any_order(bus):
    engine = bus._engine
    first, second, third = record(bus), record(bus, forward=False), record(bus)
    for block in (first, second, third):
        block.__enter__()
    for block in (first, second, third):
        block.__exit__(None, None, None)

    assert bus._engine is engine
    bus.publish("a.b")


def test_a_bus_closed_meanwhile_is_closed_for_good(bus):
    with record(bus):
        bus.start()
        assert bus._engine.below in lifecycle._engines
        assert bus.close()
        assert bus._engine.below not in lifecycle._engines

    with pytest.raises(Exception, match="closed"):
        bus.publish("a.b")


def test_only_a_bus_can_be_recorded():
    with pytest.raises(TypeError, match="an EventBus is needed, not 'bus'"), record("bus"):
        pass


# -- which events an assertion is about ------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "filters"),
    [
        ("order.paid", {}),
        ("order.*", {}),
        ("**", {}),
        ("*", {}),
        ("order.paid", {"payload": {"id": 7, "lines": [1, 2]}}),
        ("order.paid", {"payload": {"id": ANY, "lines": (1, 2)}}),
        ("order.paid", {"key": "7"}),
        ("order.paid", {"metadata": {"user": "ann"}}),
        ("order.paid", {"metadata": {"user": ANY}}),
        ("order.paid", {"where": lambda event: event.payload["id"] > 6}),
        ("order.paid", {"count": 1}),
    ],
)
def test_passes(bus, published, pattern, filters):
    event = bus.publish(
        "order.paid", {"id": 7, "lines": [1, 2]}, key="7", metadata={"user": "ann", "trace": "1"}
    )

    assert published.assert_published(pattern, **filters) == [event]
    filters.pop("count", None)
    assert published.matching(pattern, **filters) == [event]
    failure(published.assert_not_published, pattern, **filters)


@pytest.mark.parametrize(
    ("pattern", "filters"),
    [
        ("order", {}),
        ("order.*.*", {}),
        ("order.paid", {"payload": {"id": 7}}),
        ("order.paid", {"payload": {"id": 8, "lines": [1, 2]}}),
        ("order.paid", {"payload": None}),
        ("order.paid", {"key": "8"}),
        ("order.paid", {"key": None}),
        ("order.paid", {"metadata": {"user": "bob"}}),
        ("order.paid", {"metadata": {"role": "ann"}}),
        ("order.paid", {"metadata": {"role": ANY}}),
        ("order.paid", {"payload": {"id": 7, "lines": [1, 2], "more": ANY}}),
        ("order.paid", {"where": lambda event: False}),
    ],
)
def test_does_not_pass(bus, published, pattern, filters):
    bus.publish("order.paid", {"id": 7, "lines": [1, 2]}, key="7", metadata={"user": "ann"})

    assert published.matching(pattern, **filters) == []
    published.assert_not_published(pattern, **filters)
    failure(published.assert_published, pattern, **filters)


def test_values_that_become_text_equal_their_text(bus, published):
    payload = {
        "at": datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "price": Decimal("1.50"),
        "id": UUID("01890a5d-ac96-774b-bcce-b302099a8057"), "of": [Decimal("2")], "any": 1,
    }
    bus.publish("a.b", payload)

    published.assert_published("a.b", payload=payload)
    published.assert_published("a.b", payload={**payload, "any": ANY})
    published.assert_not_published("a.b", payload={**payload, "of": [Decimal("3")]})


def test_comparing_objects_decide_themselves(bus, published):
    bus.publish("a.b", {"total": 0.1 + 0.2})

    published.assert_published("a.b", payload={"total": pytest.approx(0.3)})
    published.assert_not_published("a.b", payload={"total": pytest.approx(0.4)})


def test_where_sees_only_what_passes_the_other_filters(bus, published):
    bus.publish("a.b", {"id": 1})
    bus.publish("a.c", "no dict")

    published.assert_published("a.b", where=lambda event: event.payload["id"] == 1)


def test_a_fault_in_where_is_not_taken_for_no(bus, published):
    bus.publish("a.b", {"id": 1})

    with pytest.raises(KeyError):
        published.assert_not_published("a.b", where=lambda event: event.payload["name"])


def test_a_pattern_that_could_never_match_is_an_error(published):
    with pytest.raises(ValueError, match="user created"):
        published.assert_not_published("user created")


def test_clear_begins_anew(bus, published):
    bus.publish("a.b")
    published.clear()
    published.assert_nothing_published()
    bus.publish("a.c")

    assert published.types == ["a.c"]
    assert len(published) == 1


def test_waits_for_as_many_as_are_asked_for(bus, published):
    thread = Thread(target=lambda: [bus.publish("a.b", number) for number in range(50)])
    started = monotonic()
    thread.start()
    found = published.assert_published("a.b", count=50, timeout=60.0)
    thread.join()

    assert monotonic() - started < 30
    assert [event.payload for event in found] == list(range(50))


# -- what a failure says ---------------------------------------------------------------------


def test_lists_everything_in_order_and_near_misses_first(bus, published):
    bus.publish("order.paid", {"total": 3})
    bus.publish("user.created", {"id": 8, "name": "Bob", "new": True}, key="8")
    bus.publish("user.create", {"id": 7, "name": "Ann"})

    wanted = {"id": 7, "name": "Ann"}
    assert failure(published.assert_published, "user.created", payload=wanted) == (
        "event 'user.created' with payload={'id': 7, 'name': 'Ann'} was never published\n"
        "near misses:\n"
        "    2. user.created key='8' payload={'id': 8, 'name': 'Bob', 'new': True}\n"
        "         payload['id'] is 8, not 7\n"
        "         payload['name'] is 'Bob', not 'Ann'\n"
        "         payload['new'] is True, and was not expected\n"
        "    3. user.create key=None payload={'id': 7, 'name': 'Ann'}\n"
        "         its type is 'user.create', not 'user.created'\n"
        "published on EventBus('memory:', group='test'), in order:\n"
        "    1. order.paid key=None payload={'total': 3}\n"
        "    2. user.created key='8' payload={'id': 8, 'name': 'Bob', 'new': True}\n"
        "    3. user.create key=None payload={'id': 7, 'name': 'Ann'}"
    )


def test_says_that_nothing_was_published_and_where(published):
    assert failure(published.assert_published, "a.b", key="k") == (
        "event 'a.b' with key='k' was never published\n"
        "nothing was published on EventBus('memory:', group='test')"
    )


def test_marks_what_it_counted(bus, published):
    for _ in range(3):
        bus.publish("user.created", 1)
    bus.publish("user.created", 2)

    text = failure(published.assert_published, "user.created", payload=1, count=1)
    assert text.splitlines()[0].endswith("was published 3 times, expected: 1")
    assert "near misses" not in text
    assert [line[:1] for line in text.splitlines()[2:]] == [">", ">", ">", " "]


def test_too_few_come_with_near_misses(bus, published):
    bus.publish("a.b", {"n": 1})
    bus.publish("a.b", {"n": 2})

    text = failure(published.assert_published, "a.b", payload={"n": 1}, count=2)
    assert text.splitlines()[0].endswith("was published once, expected: 2")
    assert "payload['n'] is 2, not 1" in text


def test_says_what_should_not_have_been(bus, published):
    bus.publish("a.b", 1)

    text = failure(published.assert_not_published, "a.*")
    assert text.splitlines()[0] == "event 'a.*' was published once; it should not have been"
    assert ">   1. a.b key=None payload=1" in text
    assert "  1. a.b key=None payload=1" in failure(published.assert_nothing_published)


def test_the_nearest_comes_first(bus, published):
    bus.publish("a.b", {"x": 0, "y": 0, "z": 0})
    bus.publish("a.b", {"x": 1, "y": 0, "z": 3})
    bus.publish("a.b", {"x": 1, "y": 0, "z": 0})

    near = failure(published.assert_published, "a.b", payload={"x": 1, "y": 2, "z": 3})
    near = near.partition("published on")[0]
    assert [line.split(".")[0].strip() for line in near.splitlines() if "key=" in line] == [
        "2", "3", "1"
    ]


def test_names_the_key_the_metadata_and_the_condition(bus, published):
    bus.publish("a.b", key="1", metadata={"user": "ann"})

    text = failure(published.assert_published, "a.b", key="2", metadata={"user": "bob"})
    assert "key is '1', not '2'" in text
    assert "metadata['user'] is 'ann', not 'bob'" in text
    text = failure(published.assert_published, "a.b", where=lambda event: False)
    assert "where is not true for it" in text
    assert "<lambda> (" in text
    assert "test_recorded.py:" in text


def test_the_same_content_under_another_name_is_near(bus, published):
    bus.publish("account.registered", {"id": 7})
    bus.publish("account.registered", {"id": 8})

    text = failure(published.assert_published, "user.created", payload={"id": 7})
    near = text.partition("published on")[0]
    assert "its type is 'account.registered', not 'user.created'" in near
    assert "{'id': 8}" not in near


def test_stays_readable_when_there_is_much(bus, published):
    bus.publish("a.b", {"text": "x" * 100_000})
    bus.publish_many([("a.b", number) for number in range(500)])

    text = failure(published.assert_published, "a.c")
    assert len(text) < 10_000
    assert "... and 451 more" in text


def test_none_can_be_asked_for_too(bus, published):
    published.assert_published("a.b", count=0)
    bus.publish("a.b")

    text = failure(published.assert_published, "a.b", count=0)
    assert text.splitlines()[0] == "event 'a.b' was published once, expected: 0"

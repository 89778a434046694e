"""The queues of the memory transport, without an engine around them."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from eventbus import MemoryConfig, TopologyError, TransportUnavailable
from eventbus.transports.base import (
    Budget,
    DeadRecord,
    Delivery,
    Parked,
    PartlyStored,
    Settings,
    Settlement,
    SubscriptionId,
)
from eventbus.transports.memory import MemoryTransport
from tests.unit.engine_fakes import record

ID, ALL = SubscriptionId("g", "a.b"), SubscriptionId("g", "**")
SIZE = 3


@pytest.fixture
def transport():
    settings = Settings(prefix="", lease=30.0, retention=1.0, publish_timeout=5.0)
    made = MemoryTransport(MemoryConfig(buffer_size=SIZE), settings)
    made.declare(ID, "latest")
    return made


@pytest.fixture
def consumer(transport):
    made = transport.consumer(())
    made.attach(ID)
    return made


def publish(transport, *payloads, topic="a.b", timeout=5.0, wait=True):
    transport.publish([record(p, topic) for p in payloads], timeout=timeout, wait=wait)


def fetch(consumer, events=100, size=1_000_000, handlers=("h",), timeout=0.0, id=ID):
    fetched = consumer.fetch({id: Budget(events, size, handlers)}, timeout)
    return [delivery for _, deliveries in fetched for delivery in deliveries]


def parked(seconds=0.0, handler="h", subscription=ID, data=b"{}"):
    return Parked(
        subscription=subscription, handler=handler, topic="a.b", data=data, key="k", attempt=2,
        due=datetime.now(timezone.utc) + timedelta(seconds=seconds),
    )


# -- room ------------------------------------------------------------------------------------------


def test_a_full_queue_takes_what_fits_and_says_how_much_that_was(transport):
    begun = time.monotonic()
    with pytest.raises(PartlyStored, match=r"3 events \(MemoryConfig.buffer_size\)") as caught:
        publish(transport, 1, 2, 3, 4, 5, timeout=0.05)
    assert time.monotonic() - begun >= 0.05
    assert (caught.value.stored, caught.value.outcome) == (3, "failed")
    assert transport.backlog(ID) == 3


def test_one_full_queue_keeps_the_event_from_all_of_them(transport):
    """An event is either with every subscription or with none."""
    other = SubscriptionId("other", "a.*")
    publish(transport, 1, 2, 3)
    transport.declare(other, "latest")
    with pytest.raises(PartlyStored):
        publish(transport, 4, timeout=0.01)
    assert (transport.backlog(ID), transport.backlog(other)) == (3, 0)


def test_a_waiting_publish_goes_on_as_soon_as_there_is_room(transport, consumer):
    publish(transport, 1, 2, 3)
    thread = threading.Thread(target=publish, args=(transport, 4), kwargs={"timeout": 20.0})
    thread.start()
    assert len(fetch(consumer, events=1)) == 1
    thread.join(10)
    assert not thread.is_alive()
    assert transport.backlog(ID) == 4


def test_a_publish_from_inside_a_handler_never_waits(transport):
    publish(transport, *range(10), timeout=0.0, wait=False)
    assert transport.backlog(ID) == 10


def test_nobody_waits_for_room_in_a_subscription_that_was_dropped(transport):
    publish(transport, 1, 2, 3)
    transport.drop(ID)
    publish(transport, 4, timeout=0.0)
    assert transport.backlog(ID) == 0


# -- who gets what ---------------------------------------------------------------------------------


def test_each_subscription_gets_what_it_matches_from_its_birth_on(transport):
    publish(transport, "before", topic="c")
    transport.declare(ALL, "latest")
    publish(transport, 1)
    publish(transport, 2, topic="c")
    backlogs = {(info.group, info.pattern): info.backlog for info in transport.list()}
    assert backlogs == {("g", "a.b"): 1, ("g", "**"): 2}
    assert transport.topics() == ["a.b", "c"]


def test_declaring_again_changes_nothing(transport):
    publish(transport, 1)
    assert transport.declare(ID, "latest") is False
    assert transport.backlog(ID) == 1


def test_dropping_ends_the_sessions_that_consume_it(transport, consumer):
    publish(transport, 1)
    assert transport.drop(ID) is True
    assert transport.drop(ID) is False
    for _ in range(2):
        with pytest.raises(TransportUnavailable, match="was dropped"):
            fetch(consumer)
        transport.declare(ID, "latest")  # A new one of that name is not the one attached.
    assert transport.backlog(ID) == 0


def test_dropping_ends_a_fetch_that_waits(transport, consumer):
    threading.Timer(0.05, transport.drop, (ID,)).start()
    with pytest.raises(TransportUnavailable, match="was dropped"):
        fetch(consumer, timeout=20.0)


def test_outcomes_for_a_dropped_subscription_are_dropped_with_it(transport, consumer):
    publish(transport, 1, 2, 3)
    acked, released, failed = fetch(consumer)
    transport.drop(ID)
    transport.declare(ID, "latest")
    settlement = Settlement(acks=[acked], releases=[released], parked=[(failed, parked())])
    assert consumer.settle(settlement) == ()
    assert transport.backlog(ID) == 0


def test_two_members_share_the_events(transport, consumer):
    second = transport.consumer(())
    second.attach(ID)
    publish(transport, 1, 2, 3)
    shares = [fetch(one, events=1) for one in (consumer, second, consumer, second)]
    assert [len(share) for share in shares] == [1, 1, 1, 0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_released_comes_back_first_and_in_its_order(transport, consumer, order):
    publish(transport, 1, 2, 3)
    one, two = held = fetch(consumer, events=2)
    consumer.settle(Settlement(releases=[held[place] for place in order]))
    assert [d.data for d in fetch(consumer)][:2] == [one.data, two.data]


def test_settling_twice_does_no_harm(transport, consumer):
    publish(transport, 1)
    deliveries = fetch(consumer)
    for _ in range(2):
        consumer.settle(Settlement(acks=deliveries))
    consumer.settle(Settlement(releases=deliveries))
    assert (transport.backlog(ID), fetch(consumer)) == (0, [])


def test_leases_do_not_exist(transport, consumer):
    publish(transport, 1)
    deliveries = fetch(consumer)
    assert consumer.keepalive(deliveries) == ()
    assert consumer.settle(Settlement(acks=deliveries)) == ()


# -- budgets, backlog, waiting ---------------------------------------------------------------------


def test_at_least_one_event_is_fetched_however_large(transport, consumer):
    publish(transport, "x" * 500, "y")
    assert len(fetch(consumer, size=10)) == 1
    assert len(fetch(consumer, events=0)) == 0
    assert len(fetch(consumer)) == 1


def test_a_mark_counts_only_what_was_published_before_it(transport, consumer):
    publish(transport, 1, 2)
    mark = transport.mark()
    publish(transport, 3)
    assert (transport.backlog(ID), transport.backlog(ID, mark)) == (3, 2)
    first, *_ = fetch(consumer)
    assert (transport.backlog(ID), transport.backlog(ID, mark)) == (3, 2)
    consumer.settle(Settlement(acks=[first]))
    assert (transport.backlog(ID), transport.backlog(ID, mark)) == (2, 1)
    assert transport.backlog(ALL) == 0


def test_a_fetch_ends_when_it_is_woken_and_a_wake_before_it_counts(consumer):
    begun = time.monotonic()
    threading.Timer(0.05, consumer.wake).start()
    assert fetch(consumer, timeout=20.0) == []
    consumer.wake()
    assert fetch(consumer, timeout=20.0) == []
    assert time.monotonic() - begun < 10


def test_what_is_published_after_a_wake_is_not_for_the_fetch_that_it_ends(transport, consumer):
    """The member that it was for may be cancelled by then."""
    consumer.wake()
    publish(transport, 1)

    assert fetch(consumer, timeout=5.0) == []
    assert len(fetch(consumer)) == 1


def test_a_fetch_ends_with_the_first_event(transport, consumer):
    threading.Timer(0.05, publish, (transport, 1)).start()
    begun = time.monotonic()
    assert len(fetch(consumer, timeout=20.0)) == 1
    assert time.monotonic() - begun < 10


# -- parked events ---------------------------------------------------------------------------------


def test_a_parked_event_comes_when_it_is_due_and_no_backlog_until_then(transport, consumer):
    transport.deliver([parked(0.1)])
    assert transport.backlog(ID) == 0
    begun = time.monotonic()
    (delivery,) = fetch(consumer, timeout=20.0)
    assert 0.05 < time.monotonic() - begun < 10
    assert (delivery.handler, delivery.attempt, delivery.key) == ("h", 2, "k")


def test_a_parked_event_waits_for_the_member_that_has_its_handler(transport, consumer):
    transport.deliver([parked(handler="away"), parked(data=b"[]")])
    assert [d.data for d in fetch(consumer)] == [b"[]"]
    assert [d.handler for d in fetch(consumer, handlers=("h", "away"))] == ["away"]


def test_an_event_for_all_handlers_needs_no_special_one(transport, consumer):
    transport.deliver([parked(handler=None)])
    assert [d.handler for d in fetch(consumer, handlers=("whoever",))] == [None]


def test_delivering_to_a_subscription_that_does_not_exist_delivers_nothing(transport, consumer):
    with pytest.raises(TopologyError, match="no subscription"):
        transport.deliver([parked(), parked(subscription=ALL)])
    assert fetch(consumer) == []


# -- dead letters ----------------------------------------------------------------------------------


def dead(id, group="g"):
    now = datetime.now(timezone.utc)
    return DeadRecord(
        id=id, subscription=SubscriptionId(group, "a.b"), handler="h", topic="a.b", data=b"{}",
        key=None, event_id=None, reason="failed", error="", traceback="", attempts=1,
        first_failed_at=now, failed_at=now,
    )


def test_dead_letters_are_kept_by_group_until_they_are_removed(transport, consumer):
    records = [dead("1"), dead("2", "other"), dead("3")]
    consumer.settle(Settlement(dead=[(Delivery("a.b", b"{}"), one) for one in records]))
    store = transport.dead_letters
    assert [one.id for one in store.list(None)] == ["1", "2", "3"]
    assert [one.id for one in store.list("g")] == ["1", "3"]
    assert (store.get("2"), store.get("4")) == (records[1], None)
    assert store.remove(["1", "3", "4"]) == 2
    assert [one.id for one in store.list(None)] == ["2"]


def test_a_publisher_that_waits_for_room_goes_on_when_the_subscription_is_dropped(transport):
    publish(transport, *range(SIZE))
    done = threading.Event()

    def publish_one_more():
        publish(transport, "more", timeout=20.0)
        done.set()

    thread = threading.Thread(target=publish_one_more)
    thread.start()
    deadline = time.monotonic() + 10
    while not transport._publishing:
        assert time.monotonic() < deadline

    assert transport.drop(ID)

    assert done.wait(5)
    thread.join()

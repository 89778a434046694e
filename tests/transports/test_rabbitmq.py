"""What is true of the RabbitMQ transport only: topology, settling, counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from eventbus import ConfigurationError, EventBus, RetryPolicy, TopologyError
from eventbus._engine import reconnect
from eventbus.transports.base import Budget, Settlement, SubscriptionId
from eventbus.transports.rabbitmq import frames, names
from tests.conformance import rabbitmq
from tests.conformance.target import QUICK, Received, started, wait_for
from tests.transports.consumers import LITERAL, consumer, fetch

pytestmark = pytest.mark.rabbitmq

QUEUE = names.queue(LITERAL)


class Observer:
    """A client of its own, with the client library's usual connection."""

    def __init__(self, url: str) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()

    def ready(self, queue: str = QUEUE) -> int:
        channel = self.connection.channel()
        count = channel.queue_declare(queue, passive=True).method.message_count
        channel.close()
        return int(count)

    def exists(self, queue: str) -> bool:
        try:
            self.ready(queue)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


@pytest.fixture
def observer() -> Iterator[Observer]:
    rabbitmq.reset()
    made = Observer(rabbitmq.url())
    yield made
    made.connection.close()


class Buses:
    def __init__(self) -> None:
        self._made: list[EventBus] = []

    def __call__(self, **settings: Any) -> EventBus:
        options = {"group": "g", "retry": QUICK, "close_timeout": 5.0, **settings}
        self._made.append(EventBus(rabbitmq.url(), environ={}, **options))
        return self._made[-1]

    def close(self) -> None:
        for bus in self._made:
            bus.close()


def wait_parked(bus: EventBus, number: int) -> Any:
    """Wait until the bus's member holds so many parked events; return where it holds them."""
    parking = bus._engine.loops[0]._consumer._parking
    wait_for(lambda: len(parking._held) == number, what=f"{number} parked events")
    return parking


@pytest.fixture
def buses(observer: Observer) -> Iterator[Buses]:
    made = Buses()
    yield made
    made.close()


def declared(bus: EventBus, id: SubscriptionId = LITERAL) -> Any:
    bus._engine.transport.declare(id, "latest")
    return consumer(bus, id)


def fetch_all(consumer: Any, number: int) -> list[Any]:
    found: list[Any] = []
    wait_for(lambda: found.extend(fetch(consumer, timeout=0.2)) or len(found) >= number)
    return found


# -- topology ------------------------------------------------------------------------------------


def test_a_queue_that_is_something_else_is_named_with_its_argument(
    buses: Buses, observer: Observer
) -> None:
    observer.channel.queue_declare(QUEUE, durable=True)
    try:
        with pytest.raises(TopologyError, match=r"inequivalent arg 'x-queue-type'.*eventbus\.ev"):
            buses().subscribe("a.b", Received())
    finally:
        observer.channel.queue_delete(QUEUE)


def test_a_deleted_queue_is_made_again_and_told_of(buses: Buses, observer: Observer) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(10)

    observer.channel.queue_delete(QUEUE)
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])
    wait_for(lambda: bus.stats().topology_lost == 1, what="the loss to be counted")
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_members_notice_a_queue_that_a_publisher_made_anew(
    buses: Buses, observer: Observer
) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)

    publisher = buses()
    publisher.publish("a.b", 1)
    received.wait(1)

    observer.channel.queue_delete(QUEUE)
    publisher.publish("a.b", 2)

    received.wait_for_payloads([1, 2])


def test_a_subscription_that_is_dropped_and_declared_again_serves_its_members(
    buses: Buses, observer: Observer
) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    other = buses()

    other._engine.transport.drop(LITERAL)
    other._engine.transport.declare(LITERAL, "latest")
    other.publish("a.b", 2)

    received.wait_for_payloads([1, 2])


def test_what_found_no_queue_is_not_taken_for_stored(buses: Buses, observer: Observer) -> None:
    absent = buses()
    absent._engine.transport.declare(LITERAL, "latest")
    bus = buses()
    bus.publish("a.b", 1)
    observer.channel.queue_delete(QUEUE)

    bus.publish("a.b", 2)
    bus.publish_many([("a.b", 3), ("other", 4), ("a.b", 5)])

    assert observer.ready() == 3


def test_a_dropped_subscription_is_not_brought_back_by_a_publish(
    buses: Buses, observer: Observer
) -> None:
    bus, other = buses(), buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    other.subscriptions.drop("g", "a.b")

    bus.publish("a.b", 2)

    assert not observer.exists(QUEUE)


def test_a_deleted_exchange_is_made_again_for_all_subscriptions(
    buses: Buses, observer: Observer
) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    absent = SubscriptionId("absent", "a.*")
    bus._engine.transport.declare(absent, "latest")
    bus.publish("a.b", 1)

    observer.channel.exchange_delete(names.EXCHANGE)
    bus.publish("a.b", 2)
    observer.channel.exchange_delete(names.EXCHANGE)
    bus.publish_many([("a.b", 3), ("a.b", 4)])

    received.wait_for_payloads([1, 2, 3, 4])
    assert observer.ready(names.queue(absent)) == 4


def test_a_deleted_exchange_is_noticed_by_a_member_that_only_waits(
    buses: Buses, observer: Observer
) -> None:
    bus = buses()
    bus.subscribe("a.b", Received())
    wait_for(lambda: bus.health().ok)

    observer.channel.exchange_delete(names.EXCHANGE)

    wait_for(lambda: bus.stats().topology_lost == 1, what="the loss to be counted")


def test_whoever_makes_the_exchange_again_binds_the_queues_of_all(
    buses: Buses, observer: Observer
) -> None:
    bus = buses()
    wide = SubscriptionId("wide", "**")
    for id in (LITERAL, wide):
        bus._engine.transport.declare(id, "latest")
    makers = (
        lambda: buses().publish("another"),
        lambda: buses()._engine.transport.declare(SubscriptionId("new", "c"), "latest"),
        lambda: (buses().diagnose(), buses().publish("d")),
    )

    for number, make in enumerate(makers, 1):
        observer.channel.exchange_delete(names.EXCHANGE)
        make()
        bus.publish("a.b", number)
        assert observer.ready() == number

    assert observer.ready(names.queue(wide)) == 5


def test_a_queue_that_nobody_misses_is_made_again_now_and_then(
    buses: Buses, observer: Observer
) -> None:
    bus = buses()
    for id in (LITERAL, SubscriptionId("other", "a.b")):
        bus._engine.transport.declare(id, "latest")
    observer.channel.queue_delete(QUEUE)
    bus.publish("a.b", "nobody tells that this has reached the other one only")
    assert not observer.exists(QUEUE)

    buses()._engine.transport.maintain()
    bus.publish("a.b", 2)

    assert observer.ready() == 1


def test_a_loss_is_counted_by_one_of_several_members(buses: Buses, observer: Observer) -> None:
    members, received = [buses() for _ in range(3)], Received(name="received")
    for member in members:
        member.subscribe("a.b", received)
    wait_for(lambda: all(member.health().ok for member in members))

    rabbitmq.reset()
    wait_for(lambda: sum(member.stats().topology_lost for member in members), what="the loss")
    events = members[0].publish_many([("a.b", number) for number in range(100)])

    received.wait_for_payloads(range(len(events)))
    wait_for(lambda: all(member.health().ok for member in members))
    assert sum(member.stats().topology_lost for member in members) == 1


def test_a_lost_registry_is_written_again(buses: Buses, observer: Observer) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    observer.channel.queue_delete(names.REGISTRY)
    assert bus.subscriptions.list() == []

    observer.channel.queue_delete(names.REGISTRY)
    bus._engine.transport.declare(LITERAL, "latest")

    assert [info.pattern for info in bus.subscriptions.list()] == ["a.b"]


def test_the_delivery_limit_is_out_of_the_way(buses: Buses, observer: Observer) -> None:
    bus = buses()
    reader = declared(bus)
    bus.publish("a.b", 1)

    for _ in range(25):
        reader.settle(Settlement(releases=fetch_all(reader, 1)))

    assert len(fetch_all(reader, 1)) == 1
    reader.close()


def test_dropping_leaves_no_queue(buses: Buses, observer: Observer) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")

    assert bus.subscriptions.drop("g", "a.b")

    assert not observer.exists(QUEUE)
    assert bus.subscriptions.list() == []


def test_a_foreign_message_in_the_queue_itself_is_a_dead_letter(
    buses: Buses, observer: Observer
) -> None:
    bus = buses()
    bus.subscribe("a.b", Received())

    observer.channel.basic_publish("", QUEUE, b"not ours")

    wait_for(lambda: bus.dead_letters.list(), what="the dead letter")
    assert [letter.data for letter in bus.dead_letters.list()] == [b"not ours"]


def test_what_comes_through_a_foreign_binding_is_passed_over(
    buses: Buses, observer: Observer
) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.*", received)
    observer.channel.queue_bind(
        names.queue(SubscriptionId("g", "a.*")), names.EXCHANGE, routing_key="stale.#"
    )

    bus.publish("stale.one", 1)
    bus.publish("a.b", 2)

    received.wait(1)
    assert bus.join(10)
    assert received.payloads == [2]


# -- settling ------------------------------------------------------------------------------------


def test_outcomes_of_an_earlier_session_settle_nothing(buses: Buses, observer: Observer) -> None:
    bus = buses()
    before = declared(bus)
    bus.publish_many([("a.b", 1), ("a.b", 2)])
    old = fetch_all(before, 2)
    before.close()
    after = consumer(bus)
    new = fetch_all(after, 2)

    # The same tags, on another channel.
    assert [d.receipt.tag for d in old] == [d.receipt.tag for d in new]
    after.settle(Settlement(acks=old))
    after.close()

    wait_for(lambda: observer.ready() == 2, what="both events to be back")


def test_acks_out_of_order_leave_exactly_the_others(buses: Buses, observer: Observer) -> None:
    bus = buses()
    reader = declared(bus)
    bus.publish_many([("a.b", number) for number in range(10)])
    held = fetch_all(reader, 10)

    reader.settle(Settlement(acks=[held[7], held[0], held[1]]))
    reader.settle(Settlement(acks=[held[3]], releases=[held[2]]))
    reader.settle(Settlement(acks=[held[4]]))
    reader.close()

    wait_for(lambda: observer.ready() == 5, what="what was not acked")
    left = consumer(bus)
    expected = {held[number].receipt.id for number in (2, 5, 6, 8, 9)}
    assert {d.receipt.id for d in fetch_all(left, 5)} == expected
    left.close()


def test_what_is_given_back_goes_to_a_peer_at_once_with_all_that_waits(buses: Buses) -> None:
    first, second = buses(), buses()
    one = declared(first)
    events = first.publish_many([("a.b", number) for number in range(5)])
    other = consumer(second)
    held = fetch(one, budget=Budget(5, 1, ("h",)))
    assert len(held) == 1
    began = time.monotonic()

    one.settle(Settlement(releases=held))
    found = fetch_all(other, 5)

    assert time.monotonic() - began < 2.0
    assert [d.receipt.id for d in found] == [event.id for event in events]
    one.close()
    other.close()


def test_what_is_given_back_keeps_its_place(buses: Buses) -> None:
    bus = buses()
    reader = declared(bus)
    events = bus.publish_many([("a.b", number) for number in range(50)])
    held = fetch(reader, budget=Budget(10, 10**6, ("h",)))

    reader.settle(Settlement(releases=held))
    found = fetch_all(reader, 50)

    assert [d.receipt.id for d in found] == [event.id for event in events]
    reader.close()


def test_a_member_that_has_no_room_leaves_the_rest_to_its_peers(buses: Buses) -> None:
    first, second = buses(), buses()
    one = declared(first)
    first.publish_many([("a.b", number) for number in range(200)])
    held = fetch(one, budget=Budget(3, 10**6, ("h",)))

    other = consumer(second)
    found = fetch_all(other, 190)

    assert len(held) == 3
    assert len(found) >= 190
    one.close()
    other.close()


def test_little_room_for_a_moment_returns_nothing_that_is_on_its_way(buses: Buses) -> None:
    """The server puts back what is on its way to a consumer that is cancelled, behind its peers'
    backs: a later event of the same key has begun elsewhere by then."""
    bus = buses()
    reader = declared(bus)
    order = [event.id for event in bus.publish_many([("a.b", number) for number in range(1_000)])]
    found = fetch_all(reader, 1_000)
    reader.settle(Settlement(acks=found))

    def publish(thread: int) -> None:
        for _ in range(100):
            order.extend(e.id for e in bus.publish_many([("a.b", n) for n in range(20)]))

    with started(1, publish):
        while len(found) < 3_000:
            # Hardly any room for a moment, and then again a lot.
            held = []
            for room in (1, 1, 1_000, 1_000, 1_000):
                held += fetch(reader, timeout=0.05, budget=Budget(room, 10**6, ("h",)))
            reader.settle(Settlement(acks=held))
            found += held

    assert [d.receipt.id for d in found if d.deaths] == []
    assert [d.receipt.id for d in found] == order
    reader.close()


def test_ten_lost_connections_make_no_suspects_of_a_thousand_events(
    buses: Buses, observer: Observer
) -> None:
    bus, held = buses(), []
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish_many([("a.b", number) for number in range(1_000)])
    for _ in range(10):
        reader = consumer(bus)
        held = []
        budget = Budget(1_000, 10**8, ("h",))
        wait_for(lambda r=reader, h=held, b=budget: h.extend(fetch(r, budget=b)) or len(h) == 1_000)
        reader._connection._sock.shutdown(2)
        reader.close()
        wait_for(lambda: observer.ready() == 1_000)

    assert {d.deaths for d in held} == {0}
    assert {d.started for d in held} == {False}


def test_ten_lost_connections_bury_none_of_a_thousand_events(
    buses: Buses, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds: what is cut before they are over comes back later and later.
    monkeypatch.setattr(reconnect, "HEALTHY", 0.0)
    bus, received = buses(), Received(lambda event: time.sleep(0.02), name="received")
    bus.subscribe("a.b", received)
    loop = bus._engine.loops[0]
    bus.publish_many([("a.b", number) for number in range(1_000)])
    for number in range(10):
        wait_for(lambda: bus.health().subscriptions[0].in_flight, what="events in hand")
        loop._consumer._connection._sock.shutdown(2)
        wait_for(lambda n=number: bus.stats().reconnects > n, what="another session")
        wait_for(lambda: bus.health().ok)

    received.wait_for_payloads(range(1_000))
    assert bus.join(10)
    assert bus.dead_letters.list() == []


def test_deaths_are_counted_and_a_mark_is_found_by_whoever_takes_over(buses: Buses) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    for deaths in range(3):
        # Another process each time.
        dying = consumer(buses())
        (delivery,) = fetch_all(dying, 1)
        assert delivery.deaths == deaths
        dying.mark_started(delivery)
        dying.close()

    last = consumer(bus)
    (delivery,) = fetch_all(last, 1)

    assert (delivery.deaths, delivery.started) == (3, True)
    last.settle(Settlement(acks=[delivery]))
    assert not last._marks._exists(delivery.receipt)
    last.close()


def test_a_lost_connection_is_no_crash_of_what_ran_alone(buses: Buses) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    for _ in range(2):
        dying = consumer(buses())
        fetch_all(dying, 1)
        dying.close()
    alone = consumer(bus)
    (delivery,) = fetch_all(alone, 1)
    alone.mark_started(delivery)
    peer = consumer(buses())

    alone.close()
    # The peer has it first, and waits; then the process that made the mark is back.
    wait_for(lambda: fetch(peer, timeout=0.1) or peer._marks._doubtful, what="the event")
    back = consumer(bus)

    (again,) = fetch_all(peer, 1)
    assert (again.deaths >= 2, again.started) == (True, False)
    back.close()
    peer.close()


def test_large_events_that_follow_small_ones_are_held_within_bounds(buses: Buses) -> None:
    bus = buses()
    reader = declared(bus)
    bus.publish_many([("a.b", number) for number in range(1_000)])
    reader.settle(Settlement(acks=fetch_all(reader, 1_000)))
    tap = reader._taps[LITERAL]
    assert tap._prefetch > 60
    sizes = [900_000 if number % 8 else 10 for number in range(64)]
    large = bus.publish_many([("a.b", "x" * size) for size in sizes])

    order = []
    while len(order) < 64:
        # The answer to a question comes behind all that was on its way.
        reader._look_at = 0.0
        found = fetch(reader, budget=Budget(1_000, 1, ("h",)))
        assert sum(len(d.data) for d in tap.ready) == tap.waiting <= 17 * 2**20
        reader.settle(Settlement(acks=found))
        order += [d.receipt.id for d in found]

    assert order == [event.id for event in large]
    reader.close()


# -- parked events -------------------------------------------------------------------------------


def test_parked_events_outlive_the_member_that_holds_them(
    buses: Buses, observer: Observer
) -> None:
    slow = RetryPolicy(max_attempts=3, initial=3.0, jitter=False)
    with buses(retry=slow, max_in_flight=2) as bus:
        failing = Received(lambda event: 1 / 0, name="h")
        bus.subscribe("a.b", failing)
        bus.publish_many([("a.b", number) for number in range(10)])
        wait_for(lambda: bus.stats().parked)
        wait_parked(bus, 9)
        # As a kill would: nobody gives anything back.
        loop = bus._engine.loops[0]
        loop._consumer._connection._sock.shutdown(2)

        received = Received(name="h")
        other = buses(retry=slow)
        other.subscribe("a.b", received)
        failing._action = None
        # All but the one whose retry waited in the process.
        wait_for(
            lambda: len({e.payload for e in received.events + failing.events if e.attempt == 2})
            == 9, what="every second attempt",
        )


def test_parked_events_of_a_dropped_subscription_go_with_it(
    buses: Buses, observer: Observer
) -> None:
    bus = buses(retry=RetryPolicy(initial=1.0, jitter=False), max_in_flight=2)
    bus.subscribe("keep", Received())
    subscription = bus.subscribe("a.b", Received(lambda event: 1 / 0))
    bus.publish_many([("a.b", number) for number in range(6)])
    wait_for(lambda: bus.stats().parked >= 5)
    wait_parked(bus, 5)
    subscription.cancel()
    wait_for(lambda: bus.subscriptions.drop("g", "a.b"))

    wait_parked(bus, 0)

    assert observer.ready(names.parked("g")) == 0
    assert not observer.exists(QUEUE)


def test_more_parked_events_than_a_member_holds_come_in_their_time(
    buses: Buses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventbus.transports.rabbitmq.parking.HOLD", 10)
    monkeypatch.setattr("eventbus.transports.rabbitmq.parking.TURN", 0.1)
    bus, received = buses(), Received(name="h")
    transport = bus._engine.transport
    transport.declare(LITERAL, "latest")
    events = bus.publish_many([("a.b", number) for number in range(40)])
    reader = consumer(bus)
    held = fetch_all(reader, 40)
    late, soon = _parked(held[:39], 3_600.0), _parked(held[39:], 0.5)
    reader.settle(Settlement(acks=held, parked=[*late, *soon]))
    reader.close()

    bus.subscribe("a.b", received, name="h")

    # It lies behind 39 others that are not due for an hour.
    received.wait(1)
    assert received.events[0].id == events[39].id


def _parked(deliveries: list[Any], seconds: float) -> list[Any]:
    from datetime import datetime, timedelta, timezone

    from eventbus.transports.base import Parked

    due = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return [
        (d, Parked(subscription=LITERAL, handler="h", topic=d.topic, data=d.data, key=None,
                   attempt=2, due=due))
        for d in deliveries
    ]


# -- dead letters, counts ------------------------------------------------------------------------


def test_dead_letters_do_not_wear_out_by_looking(buses: Buses, observer: Observer) -> None:
    one, other = buses(), buses()
    one.subscribe("a.b", Received(lambda event: 1 / 0), retry=RetryPolicy(max_attempts=1))
    one.publish_many([("a.b", number) for number in range(5)])
    wait_for(lambda: len(one.dead_letters.list()) == 5)
    first = one.dead_letters.list()

    for _ in range(30):
        assert one.dead_letters.list() == other.dead_letters.list() == first

    assert observer.ready(names.dead("g")) == 5


def test_a_dead_letter_that_was_stored_twice_is_one(buses: Buses, observer: Observer) -> None:
    bus = buses()
    bus.subscribe("a.b", Received(lambda event: 1 / 0), retry=RetryPolicy(max_attempts=1))
    bus.publish_many([("a.b", number) for number in range(3)])
    wait_for(lambda: len(bus.dead_letters.list()) == 3)
    letters = [*bus._engine.transport.dead_letters.list("g")]

    def store_again() -> None:
        before = observer.ready(names.dead("g"))
        for letter in letters:
            observer.channel.basic_publish(
                "", names.dead("g"), frames.pack_dead(letter),
                pika.BasicProperties(message_id=letter.id, delivery_mode=2),
            )
        wait_for(lambda: observer.ready(names.dead("g")) == before + 3)

    store_again()
    assert len(bus.dead_letters.list()) == 3
    store_again()
    assert bus.dead_letters.purge(letters[1].id) == 1
    assert bus.dead_letters.get(letters[1].id) is None
    store_again()
    assert bus.dead_letters.purge() == 3
    assert bus.dead_letters.list() == []


def test_join_ends_while_others_go_on_publishing(buses: Buses) -> None:
    bus = buses()
    bus.subscribe("a.b", lambda event: time.sleep(0.005), name="slow")
    bus.publish_many([("a.b", number) for number in range(50)])
    stop: list[bool] = []

    def publish() -> None:
        publisher = buses()
        while not stop:
            publisher.publish("a.b", "more")

    from tests.conformance.target import started

    with started(1, lambda _: publish()):
        try:
            assert bus.join(10)
        finally:
            stop.append(True)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?heartbeat=never", "heartbeat"),
        ("?heartbeet=3", r"unknown parameter 'heartbeet'.*heartbeat"),
        ("?connection_timeout=0", "connection_timeout"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(query: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        EventBus(f"amqp://user:secret@localhost/{query}", group="g", environ={})

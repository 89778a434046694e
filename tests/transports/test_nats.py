"""What is true of the NATS transport only, on servers of its own: the newest, and Debian's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Event, EventBus, PublishError
from eventbus.errors import TransportUnavailable
from eventbus.transports.base import Budget, Record, Settlement, SubscriptionId
from tests.conformance.target import QUICK, Gate, Received, fail, in_threads, wait_for
from tests.servers import Nats
from tests.transports import nats_streams
from tests.transports.consumers import LITERAL, consumer, fetch
from tests.transports.nats_servers import DebianNats

pytestmark = pytest.mark.nats


@pytest.fixture(scope="module", params=[Nats, DebianNats])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nats]:
    with request.param(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def url(server: Nats) -> str:
    """Of a server that is empty."""
    nats_streams.delete_all(server.url)
    return server.url


class Buses:
    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[EventBus] = []

    def __call__(self, **settings: Any) -> EventBus:
        options = {"group": "g", "retry": QUICK, "close_timeout": 5.0, **settings}
        self._made.append(EventBus(self._url, environ={}, **options))
        return self._made[-1]

    def close(self) -> None:
        for bus in self._made:
            bus.close()


@pytest.fixture
def buses(url: str) -> Iterator[Buses]:
    made = Buses(url)
    yield made
    made.close()


def about(url: str, stream: str = "eventbus", durable: str = "g,a=b") -> dict[str, Any]:
    return nats_streams.api(url, (f"CONSUMER.INFO.{stream}.{durable}", None))[0]


# -- streams -------------------------------------------------------------------------------------


def test_a_prefix_has_one_stream_for_all_of_it(buses: Buses, url: str) -> None:
    bus = buses(prefix="shop.eu")
    bus.publish("user.created")
    bus.publish("order.paid")

    assert nats_streams.subjects(url, "eventbus-shop=eu") == ["shop.eu.>"]
    assert nats_streams.names(url) == {"eventbus-shop=eu", "_eventbus_state"}


def test_without_a_prefix_the_first_segments_are_added(buses: Buses, url: str) -> None:
    bus = buses()
    bus.publish("user")
    bus.publish("user.created")
    bus.subscribe("order.*", Received())

    assert nats_streams.subjects(url, "eventbus") == [
        "_eventbus.topics", "user", "user.>", "order", "order.>",
    ]
    config = nats_streams.stream(url, "eventbus")["config"]
    assert (config["discard"], config["storage"], config["max_age"]) == ("new", "file", 0)


def test_many_that_add_segments_at_once_lose_none(buses: Buses, url: str) -> None:
    made = [buses() for _ in range(8)]

    in_threads(8, lambda n: [made[n].publish(f"segment-{n}-{m}.x") for m in range(4)])

    wanted = {f"segment-{n}-{m}.>" for n in range(8) for m in range(4)}
    assert wanted <= set(nats_streams.subjects(url, "eventbus"))


def test_a_first_segment_that_appears_while_all_members_are_down(buses: Buses) -> None:
    with buses() as bus:
        for pattern in ("*.created", "**", "*.*", "**.created"):
            bus.subscribe(pattern, Received(name="later"))
    buses().publish("brand-new.created", 1)

    bus = buses()
    handlers = [Received(name="later") for _ in range(4)]
    for pattern, handler in zip(("*.created", "**", "*.*", "**.created"), handlers, strict=True):
        bus.subscribe(pattern, handler)

    for handler in handlers:
        handler.wait(1)
    assert bus.join(10)
    assert [handler.payloads for handler in handlers] == [[1]] * 4


def test_a_stream_that_is_just_being_made_is_waited_for(buses: Buses, url: str) -> None:
    letters = buses()._engine.transport.dead_letters
    made = threading.Event()

    def make() -> None:
        config = {"name": "_eventbus_dead", "subjects": ["_eventbus.dead.>"], "storage": "file"}
        both = [("STREAM.CREATE._eventbus_dead", config), ("STREAM.DELETE._eventbus_dead", None)]
        nats_streams.api(url, *(both * 300))
        made.set()

    def look() -> int:
        looked = 0
        while not made.is_set():
            assert list(letters.list("g")) == []
            looked += 1
        return looked

    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(make)
        assert look() > 100
        making.result()


def test_an_operators_stream_is_used_under_its_name(buses: Buses, url: str) -> None:
    nats_streams.create(url, "ORDERS", "order.>")
    bus, literal, wild, every = buses(), Received(), Received(), Received()
    bus.subscribe("order.paid", literal)
    bus.subscribe("order.**", wild)
    bus.subscribe("**", every)

    bus.publish("order.paid", 1)
    bus.publish("user.created", 2)

    for handler in (literal, wild):
        handler.wait(1)
    every.wait(2)
    assert bus.join(10)
    assert (literal.payloads, wild.payloads, sorted(every.payloads)) == ([1], [1], [1, 2])
    assert nats_streams.stream(url, "ORDERS")["state"]["messages"] == 1


def test_a_stream_that_covers_a_part_leaves_the_rest_to_ours(buses: Buses, url: str) -> None:
    nats_streams.create(url, "CREATED", "user.created")
    bus, received = buses(), Received()
    bus.subscribe("user.*", received)

    bus.publish("user.created", 1)
    bus.publish("user.deleted", 2)

    received.wait(2)
    assert sorted(received.payloads) == [1, 2]
    assert "user.deleted" in nats_streams.subjects(url, "eventbus")


def test_streams_that_forget_what_is_acked_are_left_alone(buses: Buses, url: str) -> None:
    nats_streams.create(url, "jobs", "jobs.>", retention="workqueue")
    nats_streams.create(url, "KV_settings", "$KV.settings.>")
    bus, received = buses(), Received()

    bus.subscribe("**", received)

    assert nats_streams.stream(url, "jobs")["state"]["consumer_count"] == 0
    assert nats_streams.stream(url, "KV_settings")["state"]["consumer_count"] == 0


def test_a_wildcard_reads_all_of_a_stream_that_is_younger(buses: Buses, url: str) -> None:
    bus, received = buses(), Received()
    bus.subscribe("**", received)

    nats_streams.create(url, "LATER", "later.>")
    buses().publish_many([("later.paid", n) for n in range(20)])

    received.wait(20)
    assert bus.join(10)
    assert sorted(received.payloads) == list(range(20))
    assert nats_streams.stream(url, "LATER")["state"]["messages"] == 20
    assert bus.stats().topology_lost == 0


def test_what_a_broad_filter_brings_in_vain_is_no_backlog(buses: Buses) -> None:
    bus, publisher, received = buses(), buses(), Received()
    bus.subscribe("user.**", received)
    publisher.publish_many([("other.thing", n) for n in range(50)])
    publisher.publish_many([("user", 1), ("user.created", 2), ("user.a.b", 3), ("users", 4)])

    received.wait(3)
    assert bus.join(10)
    assert sorted(received.payloads) == [1, 2, 3]
    wait_for(lambda: bus.subscriptions.list()[0].backlog == 0, what="no backlog")


# -- what vanishes -------------------------------------------------------------------------------


def test_a_deleted_consumer_is_made_again_without_a_gap(buses: Buses, url: str) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(10)
    (loop,) = bus._engine.loops
    # So that it has seen how far everything is settled.
    loop._consumer._recheck_at = 0.0
    wait_for(lambda: loop._consumer._recheck_at > 0.0, what="a look at the consumers")

    nats_streams.api(url, ("CONSUMER.DELETE.eventbus.g,a=b", None))
    for number in range(2, 6):
        buses().publish("a.b", number)

    received.wait_for_payloads(range(1, 6))
    wait_for(lambda: bus.stats().topology_lost == 1, what="a report")
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_what_the_server_forgets_is_not_handled_twice_by_who_has_it(
    buses: Buses, url: str
) -> None:
    """A server that is killed has not stored its last deliveries, nor the last acks."""
    gate, received = Gate(), Received(name="h")
    bus = buses()

    def handle(event: Event) -> None:
        received(event)
        if event.payload == "held":
            gate()

    bus.subscribe("a.b", handle, name="h")
    bus.publish_many([("a.b", "held"), ("a.b", 1), ("a.b", 2)])
    received.wait(3)
    wait_for(lambda: about(url)["num_ack_pending"] == 1, what="two acks")
    nats_streams.api(url, ("CONSUMER.DELETE.eventbus.g,a=b", None))
    bus.publish("a.b", 3)
    received.wait_for_payloads(["held", 1, 2, 3])
    wait_for(lambda: about(url)["num_pending"] == 0, what="all to be delivered again")
    gate.open()

    assert bus.join(10)
    assert sorted(map(str, received.payloads)) == ["1", "2", "3", "held"]


def test_a_deleted_stream_is_made_again(buses: Buses, url: str) -> None:
    bus, literal, wild = buses(), Received(), Received()
    bus.subscribe("a.b", literal)
    bus.subscribe("a.*", wild)
    bus.publish("a.b", 1)
    literal.wait(1)
    assert bus.join(10)

    nats_streams.api(url, ("STREAM.DELETE.eventbus", None))
    bus.publish("a.b", 2)

    literal.wait_for_payloads([1, 2])
    wild.wait_for_payloads([1, 2])
    assert bus.stats().topology_lost == 2


@pytest.mark.parametrize("what", ["everything", "the stream", "the consumer"])
def test_one_of_several_members_tells_of_a_loss(buses: Buses, url: str, what: str) -> None:
    transports = [buses()._engine.transport for _ in range(3)]
    told: list[bool] = []

    def declare(number: int) -> None:
        while True:
            try:
                told.append(transports[number].declare(LITERAL, "latest"))
                return
            except TransportUnavailable:  # Another one changes the streams just now.
                continue

    for _ in range(5):
        for number in range(3):
            declare(number)
        told.clear()
        if what == "everything":
            nats_streams.delete_all(url)
        elif what == "the stream":
            nats_streams.api(url, ("STREAM.DELETE.eventbus", None))
        else:
            nats_streams.api(url, ("CONSUMER.DELETE.eventbus.g,a=b", None))
        in_threads(3, declare)

        assert sorted(told) == [False, False, True]


def test_a_wiped_server_is_noticed_and_everything_after_that_arrives(
    buses: Buses, url: str
) -> None:
    bus, publisher, literal, wild = buses(), buses(), Received(), Received()
    bus.subscribe("user.created", literal)
    bus.subscribe("user.*", wild)
    publisher.publish("user.created", "before")
    literal.wait(1)
    assert bus.join(10)

    nats_streams.delete_all(url)
    publisher.publish("user.created", "after")
    publisher.publish("user.changed", "too")

    wait_for(lambda: {"after", "too"} <= set(wild.payloads), 10, "the events after the wipe")
    literal.wait_for_payloads(["after"])
    assert bus.stats().topology_lost == 2
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_dropping_leaves_nothing_of_a_subscription(buses: Buses, url: str) -> None:
    bus = buses()
    subscription = bus.subscribe("user.*", fail)
    bus.publish("user.created")
    assert bus.join(10)
    subscription.cancel()
    bus.dead_letters.replay()

    assert bus.subscriptions.drop("g", "user.*")

    for name in nats_streams.names(url):
        found = nats_streams.stream(url, name)["state"]
        assert found["consumer_count"] == 0
        expected = {"eventbus": 1, "_eventbus_state": 1}  # The event, and the lock.
        assert found["messages"] == expected.get(name, 0), name


# -- leases --------------------------------------------------------------------------------------


def test_the_events_of_a_silent_member_are_taken_over(buses: Buses) -> None:
    first, second = buses(lease=1.0), buses(lease=1.0)
    first._engine.transport.declare(LITERAL, "latest")
    first.publish("a.b", 1)
    silent = consumer(first)
    held = fetch(silent)
    began = time.monotonic()
    other = consumer(second)

    while not (found := fetch(other, timeout=0.2)):
        assert time.monotonic() - began < 10

    assert time.monotonic() - began >= 0.9
    assert [(d.deaths, d.started) for d in found] == [(1, False)]
    # The late outcome of the silent one is ignored.
    assert silent.settle(Settlement(acks=held)) == set(held)
    assert about(first.config.nats.url)["num_ack_pending"] == 1
    assert other.settle(Settlement(acks=found)) == set()
    silent.close()
    other.close()


def test_a_renewed_lease_is_not_taken_over(buses: Buses) -> None:
    first, second = buses(lease=1.0), buses(lease=1.0)
    first._engine.transport.declare(LITERAL, "latest")
    first.publish("a.b", 1)
    busy, other = consumer(first), consumer(second)
    held = fetch(busy)
    until = time.monotonic() + 2.5

    while time.monotonic() < until:
        assert busy.keepalive(held) == []
        assert fetch(other, timeout=0.2) == []

    assert busy.settle(Settlement(acks=held)) == set()
    busy.close()
    other.close()


def test_what_is_let_go_goes_to_a_peer_and_its_ack_is_ignored(buses: Buses, url: str) -> None:
    first, second = buses(lease=1.0), buses(lease=1.0)
    first._engine.transport.declare(LITERAL, "latest")
    first.publish("a.b", 1)
    stuck, other = consumer(first), consumer(second)
    (held,) = fetch(stuck)
    stuck.keepalive([])
    deadline = time.monotonic() + 10

    while not (found := fetch(other, timeout=0.2)):
        assert time.monotonic() < deadline
        stuck.keepalive([])

    assert stuck.settle(Settlement(acks=[held])) == {held}
    assert about(url)["num_ack_pending"] == 1
    assert other.settle(Settlement(acks=found)) == set()
    stuck.close()
    other.close()


def test_what_is_given_back_goes_to_a_peer_at_once_and_without_a_death(buses: Buses) -> None:
    first, second = buses(), buses()
    first._engine.transport.declare(LITERAL, "latest")
    first.publish_many([("a.b", n) for n in range(50)])
    one, other = consumer(first), consumer(second)
    for _ in range(4):
        held: list[Any] = []
        wait_for(lambda c=one, h=held: h.extend(fetch(c)) or len(h) == 50, what="all of them")
        assert [d.deaths for d in held] == [0] * 50
        assert [d.receipt.sequence for d in held] == list(range(1, 51))
        began = time.monotonic()
        one.settle(Settlement(releases=held))
        assert time.monotonic() - began < 2.0
        one, other = other, one
    one.close()
    other.close()


def test_what_was_prefetched_goes_to_a_peer_when_its_member_leaves(buses: Buses) -> None:
    first, second = buses(), buses()
    first._engine.transport.declare(LITERAL, "latest")
    leaving, closing, staying = consumer(first), consumer(first), consumer(second)
    # Both have asked for more than there is, and go on asking.
    assert fetch(leaving, timeout=0.0) == fetch(closing, timeout=0.0) == []
    first.publish_many([("a.b", n) for n in range(20)])

    leaving.detach(LITERAL)
    closing.close()
    found: list[Any] = []
    wait_for(lambda: found.extend(fetch(staying)) or len(found) == 20, 5.0, "all of them")

    assert [d.deaths for d in found] == [0] * 20
    staying.settle(Settlement(acks=found))
    leaving.close()
    staying.close()


def test_a_closing_member_leaves_new_events_to_its_peers(buses: Buses) -> None:
    gate, received = Gate(), Received(name="h")
    closing, peer = buses(), buses()

    def hold(event: Event) -> None:
        gate()

    closing.subscribe("a.b", hold, name="h")
    peer.publish("a.b", "held")
    gate.wait_reached()
    peer.subscribe("a.b", received)
    closed = threading.Thread(target=closing.close)
    closed.start()
    # Closing has begun for the server, too.
    wait_for(lambda: not closing._engine.loops[0]._attached)
    began = time.monotonic()
    peer.publish_many([("a.b", n) for n in range(50)])
    received.wait_for_payloads(range(50))

    # Far less than the end of a lease, or the closing member's deadline.
    assert time.monotonic() - began < 3.0
    gate.open()
    closed.join()
    assert peer.join(10)
    assert sorted(received.payloads) == list(range(50))


def test_a_mark_is_found_by_whoever_takes_over(buses: Buses) -> None:
    bus = buses(lease=0.3)
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    found: list[Any] = []
    for deaths in range(3):
        dying = consumer(buses(lease=0.3))
        wait_for(lambda c=dying: found.extend(fetch(c, timeout=0.1)) or found, what="the event")
        (delivery,) = found
        assert delivery.deaths == deaths
        found.clear()
        dying.mark_started(delivery)
        dying._link.close()

    last = consumer(bus)
    wait_for(lambda: found.extend(fetch(last, timeout=0.1)) or found, what="the event")

    assert [(d.deaths, d.started) for d in found] == [(3, True)]
    last.settle(Settlement(acks=found))
    last.close()


def test_what_nobody_had_fetched_comes_back_after_a_reconnect(buses: Buses, url: str) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    before = consumer(bus)
    assert fetch(before, timeout=0.0) == []
    bus.publish_many([("a.b", n) for n in range(10)])
    held = [d for _, f in before.fetch({LITERAL: Budget(1, 1_000_000, ())}, 3.0) for d in f]
    wait_for(lambda: about(url)["num_ack_pending"] == 10, what="all of them to be delivered")
    before.keepalive(held)
    before._link._lost = before._link._lost or OSError("the connection broke")  # type: ignore
    before.close()

    after = bus._engine.transport.consumer(held)
    after.attach(LITERAL)
    found = fetch(after)

    assert len(found) == 9
    assert after.settle(Settlement(acks=[*held, *found])) == set()
    assert about(url)["num_ack_pending"] == 0
    after.close()


def test_outcomes_for_a_stream_that_is_gone_touch_no_other_event(buses: Buses, url: str) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", "old")
    before = consumer(bus)
    held = fetch(before)
    before.close()
    nats_streams.delete_all(url)
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", "new")

    after = bus._engine.transport.consumer(held)
    after.attach(LITERAL)
    found = fetch(after)

    assert found[0].receipt.sequence == held[0].receipt.sequence
    assert after.settle(Settlement(acks=held)) == set(held)
    assert about(url)["num_ack_pending"] == 1
    after.close()


def test_a_longer_lease_lengthens_that_of_all_members(buses: Buses, url: str) -> None:
    buses(lease=1.0)._engine.transport.declare(LITERAL, "latest")
    assert about(url)["config"]["ack_wait"] == 1_000_000_000

    buses(lease=20.0)._engine.transport.declare(LITERAL, "latest")
    buses(lease=5.0)._engine.transport.declare(LITERAL, "latest")

    assert about(url)["config"]["ack_wait"] == 20_000_000_000


def test_a_parked_event_is_delivered_when_it_is_due(buses: Buses, url: str) -> None:
    from datetime import datetime, timezone

    from eventbus.transports.base import Parked

    bus = buses()
    transport = bus._engine.transport
    transport.declare(LITERAL, "latest")
    due = datetime.now(timezone.utc) + timedelta(seconds=1.0)
    transport.deliver([
        Parked(
            subscription=LITERAL, handler="h", topic="a.b", data=b"{}", key="k", attempt=3,
            due=due, deaths=1,
        )
    ])
    reader = consumer(bus)
    found: list[Any] = []

    wait_for(lambda: found.extend(fetch(reader, timeout=0.1)) or found, what="the event")

    assert datetime.now(timezone.utc) >= due
    (one,) = found
    assert (one.handler, one.attempt, one.key, one.deaths) == ("h", 3, "k", 1)
    reader.settle(Settlement(acks=found))
    wait_for(lambda: nats_streams.stream(url, "_eventbus_inbox")["state"]["messages"] == 0)
    reader.close()


# -- retention -----------------------------------------------------------------------------------


def test_only_what_is_old_and_settled_by_all_is_removed(buses: Buses, url: str) -> None:
    bus = buses(retention=timedelta(seconds=3))
    received = Received()
    bus.subscribe("a.b", received)
    bus._engine.transport.declare(SubscriptionId("slow", "a.*"), "earliest")
    bus.publish_many(("a.b", number) for number in range(100))
    received.wait(100)
    assert bus.join(10)
    time.sleep(3.1)  # What is young is to stay so until the end, on a busy machine, too.
    bus.publish("a.b", "young")

    bus._engine.transport.maintain()
    assert nats_streams.stream(url, "eventbus")["state"]["messages"] == 101

    bus.subscriptions.drop("slow", "a.*")
    assert bus.join(10)
    bus._engine.transport.maintain()
    assert nats_streams.stream(url, "eventbus")["state"]["messages"] == 1


def test_what_a_subscription_has_not_begun_to_read_is_not_removed(buses: Buses, url: str) -> None:
    buses()._engine.transport.declare(SubscriptionId("slow", "**"), "latest")
    shop = buses(prefix="shop", retention=timedelta(seconds=0.001))
    shop.publish_many([("paid", n) for n in range(5)])
    time.sleep(0.01)

    shop._engine.transport.maintain()
    assert nats_streams.stream(url, "eventbus-shop")["state"]["messages"] == 5

    buses().subscriptions.drop("slow", "**")
    shop._engine.transport.maintain()
    assert nats_streams.stream(url, "eventbus-shop")["state"]["messages"] == 0


def test_pending_events_are_not_removed(buses: Buses, url: str) -> None:
    bus = buses(retention=timedelta(seconds=0.001))
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish_many(("a.b", number) for number in range(50))
    reader = consumer(bus)
    held: list[Any] = []
    wait_for(lambda: held.extend(fetch(reader)) or len(held) == 50, what="all of them")
    reader.settle(Settlement(acks=held[:10] + held[20:]))
    wait_for(lambda: about(url)["num_ack_pending"] == 10)
    time.sleep(0.01)

    bus._engine.transport.maintain()

    assert nats_streams.stream(url, "eventbus")["state"]["first_seq"] <= 11
    assert nats_streams.stream(url, "eventbus")["state"]["messages"] >= 40
    reader.close()


def test_a_full_stream_refuses_and_loses_nothing_old(buses: Buses, url: str) -> None:
    bus, received = buses(publish_timeout=1.0), Received()
    bus._engine.transport.declare(LITERAL, "earliest")
    bus.publish("a.b", 0)
    config = nats_streams.stream(url, "eventbus")["config"]
    nats_streams.api(url, ("STREAM.UPDATE.eventbus", {**config, "max_bytes": 20_000}))

    with pytest.raises(PublishError, match="maximum bytes exceeded") as caught:
        for number in range(1, 1_000):
            bus.publish("a.b", number)
    stored = nats_streams.stream(url, "eventbus")["state"]
    with pytest.raises(PublishError) as many:
        bus.publish_many([("a.b", "x"), ("a.b", "y")])

    assert caught.value.outcome == many.value.outcome == "failed"
    assert (stored["first_seq"], stored["messages"]) == (1, stored["last_seq"])
    bus.subscribe("a.b", received)
    received.wait(stored["messages"])
    assert bus.join(10)
    assert sorted(received.payloads) == list(range(stored["messages"]))


def test_a_second_copy_is_dropped(buses: Buses, url: str) -> None:
    bus = buses()
    event = bus.publish("a.b", 1)
    again = Record(event.id, "a.b", b"{}")

    bus._engine.transport.publish([again], timeout=5, wait=True)

    assert nats_streams.stream(url, "eventbus")["state"]["messages"] == 1

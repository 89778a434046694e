"""What is true of the Redis transport only, on a server of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from eventbus import (
    AuthenticationError,
    ConfigurationError,
    EventBus,
    PublishError,
    TopologyError,
)
from eventbus.transports.base import Settlement, SubscriptionId
from eventbus.transports.redis import keys
from tests.conformance.target import QUICK, Received, wait_for
from tests.servers import Redis
from tests.transports.consumers import LITERAL, consumer, fetch

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis"), options={"appendfsync": "everysec"}) as server:
        yield server


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    """A client of its own; the server is empty."""
    server.start()
    client = redis.Redis.from_url(server.url)
    client.flushall()
    yield client
    client.close()


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
def buses(server: Redis, client: Any) -> Iterator[Buses]:
    made = Buses(server.url)
    yield made
    made.close()


# -- topology ------------------------------------------------------------------------------------


def test_a_literal_pattern_is_read_through_the_groups_own_name(buses: Buses, client: Any) -> None:
    bus = buses(group="authula_consumer_group")
    bus.subscribe("user.created", Received())
    bus.subscribe("user.*", Received())
    bus.publish("user.created")

    def names() -> set[bytes]:
        return {group["name"] for group in client.xinfo_groups("user.created")}

    both = {b"authula_consumer_group", b"authula_consumer_group|user.*"}
    wait_for(lambda: names() == both, what="the wildcard's own group")


def test_what_a_foreign_publisher_adds_is_handled(buses: Buses, client: Any) -> None:
    bus, received = buses(), Received()
    bus.subscribe("user.created", received)
    event = buses().publish("elsewhere", {"n": 1})
    data = client.xrange("elsewhere")[0][1][b"payload"].replace(b"elsewhere", b"user.created")

    entry = {"_watermill_message_uuid": event.id, "metadata": b"", "payload": data}
    client.xadd("user.created", entry)

    received.wait(1)
    assert (received.events[0].id, received.payloads) == (event.id, [{"n": 1}])


def test_a_key_of_another_type_is_named(buses: Buses, client: Any) -> None:
    client.set("user.created", "I was here first")
    bus = buses()

    with pytest.raises(PublishError, match=r"the key 'user.created' is a string, not a stream"):
        bus.publish("user.created")
    with pytest.raises(TopologyError, match="should be a stream"):
        bus.subscribe("user.created", Received())


def test_a_wiped_server_is_noticed_and_everything_after_that_arrives(
    buses: Buses, client: Any
) -> None:
    bus, publisher, literal, wild = buses(), buses(), Received(), Received()
    bus.subscribe("user.created", literal)
    bus.subscribe("user.*", wild)
    publisher.publish("user.created", "before")
    literal.wait(1)
    assert bus.join(10)

    client.flushall()
    publisher.publish("user.created", "after")
    publisher.publish("user.changed", "too")

    wait_for(lambda: {"after", "too"} <= set(wild.payloads), 10, "the events after the wipe")
    literal.wait_for_payloads(["after"])
    assert bus.stats().topology_lost == 2
    wait_for(lambda: bus.health().ok, what="a healthy bus")


def test_a_deleted_stream_is_made_again(buses: Buses, client: Any) -> None:
    bus, received = buses(), Received()
    bus.subscribe("user.created", received)
    bus.publish("user.created", 1)
    received.wait(1)
    assert bus.join(10)

    client.delete("user.created")
    bus.publish("user.created", 2)

    received.wait_for_payloads([1, 2])
    assert bus.stats().topology_lost == 1


def test_dropping_leaves_nothing_of_a_subscription(buses: Buses, client: Any) -> None:
    bus = buses()
    subscription = bus.subscribe("user.*", Received())
    bus.publish("user.created")
    assert bus.join(10)
    subscription.cancel()

    assert bus.subscriptions.drop("g", "user.*")

    assert client.xinfo_groups("user.created") == []
    assert client.hgetall(keys.SUBSCRIPTIONS) == {}


# -- leases --------------------------------------------------------------------------------------


def test_the_entries_of_a_silent_member_are_taken_over(buses: Buses) -> None:
    first, second = buses(lease=1.0), buses(lease=1.0)
    first._engine.transport.declare(LITERAL, "latest")
    first.publish("a.b", 1)
    silent = consumer(first)
    assert len(fetch(silent)) == 1
    began = time.monotonic()
    other = consumer(second)

    while not (found := fetch(other)):
        assert time.monotonic() - began < 10

    assert time.monotonic() - began >= 0.9
    assert [(d.deaths, d.started) for d in found] == [(1, False)]
    # The late outcome of the silent one is ignored.
    assert list(silent.settle(Settlement(acks=[*silent._held.values()]))) != []
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


def test_what_is_let_go_goes_to_a_peer_and_its_ack_is_ignored(buses: Buses, client: Any) -> None:
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
    assert client.xpending("a.b", "g")["pending"] == 1
    assert other.settle(Settlement(acks=found)) == set()
    stuck.close()
    other.close()


def test_foreign_members_keep_their_entries_for_a_minute(buses: Buses, client: Any) -> None:
    bus = buses(lease=0.5)
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish_many([("a.b", 1), ("a.b", 2)])
    rows = client.xreadgroup("g", "go-member", {"a.b": ">"})
    young, old = (id for id, _ in rows[0][1])
    client.xclaim("a.b", "g", "go-member", 0, [old], idle=61_000, justid=True)
    client.xclaim("a.b", "g", "go-member", 0, [young], idle=30_000, justid=True)
    ours = consumer(bus)

    found = fetch(ours)

    assert [d.receipt.id for d in found] == [old]
    assert fetch(ours, timeout=1.5) == []
    ours.close()


def test_what_is_given_back_goes_to_a_peer_at_once_and_without_a_death(buses: Buses) -> None:
    first, second = buses(), buses()
    first._engine.transport.declare(LITERAL, "latest")
    first.publish("a.b", 1)
    one, other = consumer(first), consumer(second)
    held = fetch(one)
    assert fetch(other, timeout=0.0) == []
    began = time.monotonic()

    one.settle(Settlement(releases=held))
    found = fetch(other, timeout=5.0)

    assert time.monotonic() - began < 2.0
    assert [d.deaths for d in found] == [0]
    one.close()
    other.close()


def test_a_mark_is_found_by_whoever_takes_over(buses: Buses) -> None:
    bus = buses(lease=0.3)
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    found: list[Any] = []
    for _ in range(3):
        dying = consumer(buses(lease=0.3))
        wait_for(lambda c=dying: found.extend(fetch(c, timeout=0.1)) or found, what="the event")
        (delivery,) = found
        found.clear()
        dying.mark_started(delivery)
        dying.close()

    last = consumer(bus)
    wait_for(lambda: found.extend(fetch(last, timeout=0.1)) or found, what="the event")

    assert [(d.deaths, d.started) for d in found] == [(3, True)]
    last.settle(Settlement(acks=found))
    last.close()


def test_own_entries_come_back_after_a_reconnect(buses: Buses) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish_many([("a.b", 1), ("a.b", 2)])
    before = consumer(bus)
    held, lost_with_the_socket = fetch(before)
    before.close()
    after = bus._engine.transport.consumer([held])
    after.attach(LITERAL)

    found = fetch(after)

    assert [d.receipt.id for d in found] == [lost_with_the_socket.receipt.id]
    assert after.settle(Settlement(acks=[held, *found])) == set()
    after.close()


def test_a_session_can_begin_with_entries_of_a_group_that_is_gone(
    buses: Buses, client: Any
) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish("a.b", 1)
    before = consumer(bus)
    held = fetch(before)
    before.close()
    client.flushall()
    bus._engine.transport.declare(LITERAL, "latest")

    after = bus._engine.transport.consumer(held)

    assert after.settle(Settlement(acks=held)) == set(held)
    after.close()


# -- waiting -------------------------------------------------------------------------------------


def test_a_wait_that_is_ended_early_leaves_nothing_behind(buses: Buses, client: Any) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    waiting, found, over = consumer(bus), [], threading.Event()

    def disturb() -> None:
        while not over.wait(random.uniform(0.0, 0.002)):
            waiting.wake()

    def publish() -> None:
        for number in range(1_000):
            bus.publish("a.b", number)

    threads = [threading.Thread(target=disturb), threading.Thread(target=publish)]
    for thread in threads:
        thread.start()
    while threads[1].is_alive():
        found += fetch(waiting, timeout=0.05)
    over.set()
    threads[0].join()

    # Each that the server has given away is here: nothing is on its way to a wait that has ended.
    assert client.xpending("a.b", "g")["pending"] == len(found)
    while more := fetch(waiting, timeout=0.5):
        found += more
    assert len({delivery.receipt.id for delivery in found}) == len(found) == 1_000
    waiting.close()


def test_a_wait_is_ended_at_once(buses: Buses) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    waiting = consumer(bus)
    fetch(waiting, timeout=0.0)
    for pause in (0.0, 0.0002, 0.0005, 0.02) * 10:
        timer = threading.Timer(pause, waiting.wake)
        began = time.monotonic()
        timer.start()

        assert fetch(waiting, timeout=5.0) == []

        assert time.monotonic() - began < 0.5
        timer.join()
    waiting.close()


def test_what_a_dead_connection_was_given_is_found_soon(buses: Buses, client: Any) -> None:
    bus = buses()
    bus._engine.transport.declare(LITERAL, "latest")
    after = consumer(bus)
    bus.publish("a.b", 1)
    # As to the session before, whose last question is answered only now.
    client.xreadgroup("g", bus._engine.transport._name, {"a.b": ">"})
    found: list[Any] = []

    wait_for(lambda: found.extend(fetch(after, timeout=0.2)) or found, 8, "the event")

    assert [d.deaths for d in found] == [0]
    after.close()


def test_an_idle_bus_closes_in_time_on_a_paused_server(buses: Buses, server: Redis) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    assert bus.join(10)
    server.pause()
    try:
        began = time.monotonic()
        assert bus.close()
        assert time.monotonic() - began < 5.0
    finally:
        server.resume()


# -- retention -----------------------------------------------------------------------------------


def test_only_what_is_old_and_settled_by_all_is_trimmed(buses: Buses, client: Any) -> None:
    bus = buses(retention=timedelta(seconds=0.2))
    received = Received()
    bus.subscribe("a.b", received)
    bus._engine.transport.declare(SubscriptionId("slow", "a.*"), "earliest")
    # More than a node of the stream holds: trimming is approximate.
    bus.publish_many(("a.b", number) for number in range(500))
    received.wait(500)
    assert bus.join(10)
    time.sleep(0.3)

    bus._engine.transport.maintain()
    assert client.xlen("a.b") == 500

    bus.subscriptions.drop("slow", "a.*")
    bus._engine.transport.maintain()
    assert client.xlen("a.b") < 200


def test_pending_entries_are_not_trimmed(buses: Buses, client: Any) -> None:
    bus = buses(retention=timedelta(seconds=0.001))
    bus._engine.transport.declare(LITERAL, "latest")
    bus.publish_many(("a.b", number) for number in range(500))
    reader = consumer(bus)
    held = fetch(reader)
    reader.settle(Settlement(acks=held[1:]))
    time.sleep(0.01)

    bus._engine.transport.maintain()

    assert client.xrange("a.b", count=1)[0][0] == held[0].receipt.id
    reader.close()


# -- trouble -------------------------------------------------------------------------------------


def test_a_wrong_password_fails_at_once_and_is_not_shown(tmp_path: Any) -> None:
    with Redis(tmp_path / "locked", password="right-one") as server:
        url = server.url.replace("right-one", "wrong-secret")
        with EventBus(url, group="g", environ={}) as bus:
            began = time.monotonic()
            with pytest.raises(AuthenticationError) as caught:
                bus.subscribe("a.b", Received())
            with pytest.raises(PublishError) as refused:
                bus.publish("a.b")
            assert time.monotonic() - began < 5
            assert "secret" not in f"{caught.value}{refused.value}{bus!r}{bus.health()}"
            assert refused.value.outcome == "failed"


def test_a_full_server_refuses_and_recovers(buses: Buses, client: Any) -> None:
    bus, received = buses(publish_timeout=0.5), Received()
    bus.subscribe("a.b", received)
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(PublishError, match="maxmemory") as caught:
            bus.publish("a.b", 1)
        with pytest.raises(PublishError) as many:
            bus.publish_many([("a.b", 2), ("a.b", 3)])
    finally:
        client.config_set("maxmemory", 0)
    bus.publish("a.b", 4)

    assert (caught.value.outcome, many.value.outcome) == ("failed", "failed")
    received.wait(1)
    assert bus.join(10)
    assert received.payloads == [4]


def test_a_paused_server_times_out_with_an_honest_outcome(buses: Buses, server: Redis) -> None:
    bus = buses(publish_timeout=1.0)
    bus.publish("a.b", 1)
    server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(PublishError) as caught:
            bus.publish("a.b", 2)
        assert time.monotonic() - began < 2.0
        assert caught.value.outcome == "unknown"
    finally:
        server.resume()
    bus.publish("a.b", 3)


def test_nothing_listens(tmp_path: Any) -> None:
    with EventBus("redis://127.0.0.1:1/0", group="g", environ={}, publish_timeout=1.0) as bus:
        with pytest.raises(PublishError) as caught:
            bus.publish("a.b")
        assert caught.value.outcome == "failed"


def test_settings_that_the_client_does_not_know_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"RedisConfig\.url"):
        EventBus("redis://localhost:6379/0?socket_timeout=soon", environ={})

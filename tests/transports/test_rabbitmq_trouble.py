"""RabbitMQ in trouble: servers of these tests' own that are paused, killed, full, or locked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventbus import (
    AuthenticationError,
    ConfigurationError,
    EventBus,
    EventBusError,
    PublishError,
    RetryPolicy,
    TopologyError,
    TransportUnavailable,
)
from tests.conformance.rabbitmq import control, empty
from tests.conformance.target import QUICK, Received, in_threads, started, wait_for
from tests.servers import RabbitMQ, make_certificates

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq"), password="right-one") as server:
        yield server


@pytest.fixture
def server(module_server: RabbitMQ) -> RabbitMQ:
    """Running, whatever the test before has done to it, and empty."""
    module_server.start()
    empty(module_server.url)
    return module_server


class Buses:
    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[EventBus] = []

    def __call__(self, **settings: Any) -> EventBus:
        options = {"group": "g", "retry": QUICK, "close_timeout": 5.0, **settings}
        self._made.append(EventBus(options.pop("url", self.url), environ={}, **options))
        return self._made[-1]

    def close(self) -> None:
        for bus in self._made:
            bus.close()


@pytest.fixture
def buses(server: RabbitMQ) -> Iterator[Buses]:
    made = Buses(server.url)
    yield made
    made.close()


@contextmanager
def alarmed(server: RabbitMQ, kind: str) -> Iterator[None]:
    """A server that is short of memory or of disk space while the block runs."""
    limits = {
        "memory": (("set_vm_memory_high_watermark", "0.0000001"),
                   ("set_vm_memory_high_watermark", "0.9")),
        "disk": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "1MB")),
    }
    begin, end = limits[kind]
    control(server, *begin)
    try:
        with EventBus(server.url, group="probe", environ={}, publish_timeout=0.5) as probe:
            # The server looks now and then.
            wait_for(lambda: not _takes(probe), what="the alarm")
        yield
    finally:
        control(server, *end)


def _takes(bus: EventBus) -> bool:
    try:
        bus.publish("probe")
    except PublishError:
        return False
    return True


def elapsed(began: float) -> float:
    return time.monotonic() - began


# -- who may come in -----------------------------------------------------------------------------


def test_a_wrong_password_fails_at_once_and_is_not_shown(buses: Buses, caplog: Any) -> None:
    bus = buses(url=buses.url.replace("right-one", "wrong-secret"))
    began = time.monotonic()

    with pytest.raises(AuthenticationError) as caught:
        bus.subscribe("a.b", Received())
    with pytest.raises(PublishError) as refused:
        bus.publish("a.b")

    assert elapsed(began) < 5
    assert refused.value.outcome == "failed"
    assert "secret" not in f"{caught.value}{refused.value}{bus!r}{bus.health()}{caplog.text}"


def test_a_virtual_host_that_is_not_there_is_named(buses: Buses) -> None:
    bus = buses(url=buses.url.replace("/%2F", "/nowhere"))

    with pytest.raises(TopologyError, match="vhost nowhere not found: create the virtual host"):
        bus.subscribe("a.b", Received())


def test_another_virtual_host_is_another_world(server: RabbitMQ, buses: Buses) -> None:
    control(server, "add_vhost", "team/a")
    control(server, "set_permissions", "-p", "team/a", "bus", ".*", ".*", ".*")
    inside, outside = buses(url=buses.url.replace("/%2F", "/team%2Fa")), buses()
    received = Received()
    inside.subscribe("a.b", received)

    outside.publish("a.b", "outside")
    inside.publish("a.b", "inside")

    received.wait(1)
    assert inside.join(10)
    assert received.payloads == ["inside"]
    assert outside.subscriptions.list() == []


def test_few_rights_are_enough(server: RabbitMQ, buses: Buses) -> None:
    control(server, "add_user", "modest", "pw")
    ours = r"^eventbus(\..*)?$"
    control(server, "set_permissions", "modest", ours, r"^(eventbus(\..*)?|amq\.default)$", ours)
    bus = buses(url=buses.url.replace("bus:right-one", "modest:pw"))
    received = Received(lambda event: 1 / 0 if event.payload == "bad" else None)
    bus.subscribe("a.*", received)

    bus.publish_many([("a.b", "good"), ("a.b", "bad")])

    wait_for(lambda: bus.dead_letters.list(), what="the dead letter")
    assert bus.join(10)
    assert bus.dead_letters.purge() == 1
    assert {finding.level for finding in bus.diagnose()} == {"ok"}


def test_missing_rights_are_told(server: RabbitMQ, buses: Buses) -> None:
    control(server, "add_user", "reader", "pw")
    control(server, "set_permissions", "reader", "^$", "^$", ".*")
    bus = buses(url=buses.url.replace("bus:right-one", "reader:pw"))

    with pytest.raises(AuthenticationError, match=r"access to .*'eventbus"):
        bus.subscribe("a.b", Received())


def test_tls_verifies_the_server_unless_told_otherwise(tmp_path: Path, caplog: Any) -> None:
    certificates = make_certificates(tmp_path / "certificates")
    with RabbitMQ(tmp_path / "server", tls=certificates) as server:
        unknown = EventBus(server.url, group="g", environ={}, publish_timeout=2.0)
        with pytest.raises(PublishError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            unknown.publish("a.b")
        assert caught.value.outcome == "failed"
        for query in (f"?cacertfile={certificates.ca}", "?verify=verify_none"):
            received = Received()
            with EventBus(server.url + query, group="g", environ={}) as bus:
                bus.subscribe("a.b", received)
                bus.publish("a.b", "x" * 500_000)
                received.wait(1)
        assert "anybody can pose as this server" in caplog.text
        unknown.close()


def test_files_for_tls_that_cannot_be_read_are_told() -> None:
    with pytest.raises(ConfigurationError, match="TLS files cannot be used"):
        EventBus("amqps://localhost/?cacertfile=/nowhere.pem", group="g", environ={})


# -- who answers ---------------------------------------------------------------------------------


def test_nothing_listens() -> None:
    with EventBus("amqp://127.0.0.1:1", group="g", environ={}, publish_timeout=1.0) as bus:
        began = time.monotonic()
        with pytest.raises(PublishError, match="refused") as caught:
            bus.publish("a.b")
        with pytest.raises(TransportUnavailable):
            bus.subscribe("a.b", Received(), timeout=1.0)
        assert elapsed(began) < 4
        assert caught.value.outcome == "failed"


def test_of_several_hosts_the_first_that_answers_is_taken(server: RabbitMQ, buses: Buses) -> None:
    host = f"127.0.0.1:{server.port}"
    bus = buses(url=buses.url.replace(host, f"127.0.0.1:1,{host}"))
    received = Received()

    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)

    received.wait(1)


def test_a_paused_server_times_out_with_an_honest_outcome(
    server: RabbitMQ, buses: Buses
) -> None:
    bus, fresh = buses(publish_timeout=1.0), buses(publish_timeout=1.0)
    bus.publish("a.b", 1)
    server.pause()
    try:
        for publisher, outcome in ((bus, "unknown"), (fresh, "failed")):
            began = time.monotonic()
            with pytest.raises(PublishError) as caught:
                publisher.publish("a.b", 2)
            assert elapsed(began) < 2.5
            assert caught.value.outcome == outcome
    finally:
        server.resume()
    bus.publish("a.b", 3)


def test_closing_is_bounded_in_every_state_while_the_server_is_paused(
    server: RabbitMQ, buses: Buses, capfd: Any
) -> None:
    gate: list[bool] = []
    unused, idle, busy, reading, publishing, soon, late = (buses() for _ in range(7))
    idle.subscribe("a.b", Received())
    busy.subscribe("c.d", lambda event: wait_for(lambda: gate), name="h")
    busy.publish("c.d", 1)
    wait_for(lambda: busy.health().subscriptions[0].in_flight == 1)
    for bus in (publishing, soon):
        bus.publish("e.f", 1)
    reading.dead_letters.list()
    server.pause()
    try:
        asks = [
            lambda: publishing.publish("e.f", 2),
            lambda: late.subscribe("g.h", Received()),
            lambda: reading.dead_letters.list(),
        ]
        with started(len(asks), lambda number: _fails(asks[number])):
            futures = [soon.publish_soon("e.f", number) for number in range(50)]
            wait_for(lambda: not idle.health().ok, what="the trouble to be noticed")
            gate.append(True)
            took = _closed([unused, idle, busy, reading, publishing, soon, late], timeout=2.0)
    finally:
        server.resume()

    assert max(took) < 2.0 + 1.0
    assert all(future.done() for future in futures)
    assert capfd.readouterr().err == ""


def _fails(ask: Callable[[], object]) -> None:
    with pytest.raises(EventBusError):
        ask()


def _closed(made: list[EventBus], timeout: float) -> list[float]:
    """Close them all at once; how long each took."""
    took: list[float] = []

    def close(number: int) -> None:
        began = time.monotonic()
        made[number].close(timeout)
        took.append(elapsed(began))

    in_threads(len(made), close)
    return took


def test_a_member_survives_a_pause(server: RabbitMQ, buses: Buses) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)
    server.pause()
    time.sleep(8.0)
    server.resume()

    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])


def test_a_killed_server_loses_nothing_that_was_confirmed(
    server: RabbitMQ, buses: Buses
) -> None:
    bus, publisher, received = buses(), buses(publish_timeout=2.0), Received()
    bus.subscribe("a.*", received)
    # A quorum queue of 3.10 that is younger than a second does not come back.
    time.sleep(1.5)
    confirmed: list[int] = []

    def publish(index: int) -> None:
        for number in range(index * 1_000, index * 1_000 + 1_000):
            try:
                publisher.publish("a.b", number)
            except PublishError:
                if not server.running:
                    return
            else:
                confirmed.append(number)

    def kill(index: int) -> None:
        if index:
            publish(index)
        else:
            wait_for(lambda: len(confirmed) > 300)
            server.kill()

    in_threads(4, kill)
    server.start()
    publisher.publish("a.b", "after")

    wait_for(lambda: {*confirmed, "after"} <= set(received.payloads), 30, "all that was confirmed")
    assert bus.join(20)
    assert bus.dead_letters.list() == []
    assert bus.stats().topology_lost == 0


def test_a_wiped_server_is_told_of_and_served_again(server: RabbitMQ, buses: Buses) -> None:
    bus, received = buses(), Received()
    bus.subscribe("a.b", received)
    bus.publish("a.b", 1)
    received.wait(1)

    server.wipe()
    wait_for(lambda: bus.stats().topology_lost == 1, 30, "the loss to be counted")
    bus.publish("a.b", 2)

    received.wait_for_payloads([1, 2])
    assert bus.topics() == ["a.b"]


# -- alarms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_an_alarm_stops_publishing_in_time_and_nothing_else(
    server: RabbitMQ, buses: Buses, kind: str
) -> None:
    bus, publisher = buses(max_concurrent_handlers=2), buses(publish_timeout=1.0)
    handled = Received()
    publisher._engine.transport.declare(bus._engine.subscription_id("a.b", None), "latest")
    publisher.publish_many([("a.b", number) for number in range(500)])

    def handle(event: Any) -> None:
        time.sleep(0.005)
        if event.payload == 7:
            raise RuntimeError("bad")
        handled(event)

    with alarmed(server, kind):
        outcomes = []
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(PublishError, match="accepts no messages: low on") as caught:
                publisher.publish("a.b", "too much")
            assert elapsed(began) < 2.0
            outcomes.append(caught.value.outcome)
        # The first one went out before the server could tell; it may be stored in the end.
        assert outcomes == ["unknown", "failed"]
        bus.subscribe("a.b", handle, name="h", retry=RetryPolicy(max_attempts=1))
        wait_for(lambda: {*range(500)} - {7} <= set(handled.payloads), 20, "all the others")
        with pytest.raises(TransportUnavailable, match="accepts no messages"):
            bus.dead_letters.list()

    publisher.publish("a.b", "again")
    wait_for(lambda: "again" in handled.payloads, what="the next event")
    wait_for(lambda: len(bus.dead_letters.list()) == 1, what="the dead letter")
    assert bus.join(10)
    assert bus.stats().reconnects == 0

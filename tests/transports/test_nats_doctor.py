"""What `diagnose` says about a NATS server, and how our books on it are made and counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from eventbus import AuthenticationError, Event, EventBus, RetryLater, TopologyError
from eventbus.transports.base import SubscriptionId
from eventbus.transports.nats import deadletters, names, reader, settling
from tests.conformance.target import Gate, Received, fail, wait_for
from tests.servers import Nats
from tests.transports import nats_streams
from tests.transports.nats_servers import DebianNats

pytestmark = pytest.mark.nats

ID = SubscriptionId("g", "a.b")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    options = {"accounts": ACCOUNTS, "no_auth_user": "free"}
    with Nats(tmp_path_factory.mktemp("nats"), options=options) as server:
        yield server


#: One account without a limit, one with little room, and one without JetStream.
ACCOUNTS = """{
  FREE: { jetstream: enabled, users: [ { user: free, password: x } ] },
  SMALL: { jetstream: { max_mem: 100K, max_file: 100K }, users: [ { user: small, password: x } ] },
  NONE: { users: [ { user: none, password: x } ] }
}"""


@pytest.fixture
def url(server: Nats) -> str:
    nats_streams.delete_all(server.url)
    return server.url


@pytest.fixture
def bus(url: str) -> Iterator[EventBus]:
    with EventBus(url, group="g", environ={}, close_timeout=5.0) as bus:
        yield bus


def findings(bus: EventBus, subject: str) -> list[tuple[str, str]]:
    return [(f.level, f.message) for f in bus.diagnose() if f.subject == subject]


def change(url: str, **settings: Any) -> None:
    config = nats_streams.stream(url, "eventbus")["config"]
    (answer,) = nats_streams.api(url, ("STREAM.UPDATE.eventbus", {**config, **settings}))
    assert "error" not in answer, answer


def user(server: Nats, name: str) -> str:
    return f"nats://{name}:x@127.0.0.1:{server.port}"


# -- doctor --------------------------------------------------------------------------------------


def test_a_healthy_server_has_one_warning_which_only_a_person_can_answer(bus: EventBus) -> None:
    bus.subscribe("a.b", Received())
    bus.publish("a.b")
    found = bus.diagnose()

    assert [f.subject for f in found if f.level != "ok"] == ["sync_interval"]
    assert findings(bus, "version")[0][1].startswith("NATS v2.")
    assert findings(bus, "stream eventbus")[0][1].startswith("_eventbus.topics, a, a.>;")


def test_an_old_server_is_told_from_a_new_one(tmp_path: Path) -> None:
    with DebianNats(tmp_path) as server, EventBus(server.url, group="g", environ={}) as bus:
        ((level, message),) = findings(bus, "version")
    assert level == "warning" and message.startswith("NATS v2.9.")


def test_limits_that_discard_what_nobody_has_had_are_named(bus: EventBus, url: str) -> None:
    bus.publish("a.b")
    change(url, max_msgs=1_000, discard="old")
    ((level, message),) = findings(bus, "stream eventbus")
    assert level == "warning" and message.startswith("max_msgs: the server discards events")

    change(url, max_msgs=1_000, discard="new")
    assert findings(bus, "stream eventbus")[0][0] == "ok"

    change(url, max_msgs=-1, max_age=3_600_000_000_000)
    assert findings(bus, "stream eventbus")[0][1].startswith("max_age:")


def test_a_stream_in_memory_is_named(bus: EventBus, url: str) -> None:
    nats_streams.create(url, "fast", "fast.>", storage="memory")
    assert findings(bus, "stream fast") == [
        ("warning", "is in memory: a restart loses its events")
    ]


def test_an_account_that_is_nearly_full_is_named(server: Nats, url: str) -> None:
    limited = user(server, "small")
    nats_streams.delete_all(limited)
    with EventBus(limited, group="g", environ={}, publish_timeout=1.0) as bus:
        assert findings(bus, "storage")[0][0] == "ok"
        bus.publish("a.b", "x" * 85_000)
        ((level, message),) = findings(bus, "storage")
    assert level == "warning" and "of 100000 bytes are used" in message


def test_an_account_without_jetstream_is_told_so(server: Nats) -> None:
    with EventBus(user(server, "none"), group="g", environ={}) as bus:
        with pytest.raises(TopologyError, match="JetStream"):
            bus.diagnose()


def test_wrong_credentials_are_told_without_the_secret(server: Nats) -> None:
    with EventBus(f"nats://free:s3cret@127.0.0.1:{server.port}", group="g", environ={}) as bus:
        with pytest.raises(AuthenticationError) as caught:
            bus.diagnose()
    assert "s3cret" not in str(caught.value)


def test_what_waits_and_what_nobody_asks_for_is_counted(bus: EventBus, url: str) -> None:
    transport = bus._engine.transport
    transport.declare(ID, "latest")
    bus.publish_many([("a.b", n) for n in range(3)])
    assert findings(bus, "a.b of g") == [("ok", "3 waiting, 0 pending")]

    take_one(url)
    assert findings(bus, "a.b of g") == [
        ("warning", "2 waiting, 1 pending, and no member asks for more")
    ]


def take_one(url: str) -> None:
    """Take one event as a member that says nothing more."""
    async def pull() -> None:
        client = await nats.connect(url)
        taken = await client.subscribe("_INBOX.taken")
        body = json.dumps({"batch": 1}).encode()
        await client.publish("$JS.API.CONSUMER.MSG.NEXT.eventbus.g,a=b", body, "_INBOX.taken")
        await taken.next_msg(5)
        await client.close()

    asyncio.run(pull())


def test_a_subscription_whose_consumer_was_deleted_is_named(bus: EventBus, url: str) -> None:
    bus._engine.transport.declare(ID, "latest")
    nats_streams.api(url, ("CONSUMER.DELETE.eventbus.g,a=b", None))
    assert findings(bus, "a.b of g") == [("warning", "has no consumer on eventbus yet")]


def test_a_lease_that_somebody_has_lengthened_is_named(url: str) -> None:
    with EventBus(url, group="g", environ={}, lease=60.0) as long:
        long._engine.transport.declare(ID, "latest")
    with EventBus(url, group="g", environ={}, lease=10.0) as bus:
        ((level, message),) = findings(bus, "a.b of g")
    assert level == "warning" and "wait 60 s instead of 10 s" in message


# -- books ---------------------------------------------------------------------------------------


def test_a_foreign_stream_in_the_place_of_our_books_is_named(bus: EventBus, url: str) -> None:
    nats_streams.create(url, "theirs", "_eventbus.>")
    with pytest.raises(TopologyError, match="another stream has subjects under _eventbus"):
        bus.subscribe("a.b", Received())


def test_books_that_were_deleted_are_made_again_when_they_are_needed(
    bus: EventBus, url: str
) -> None:
    bus.subscribe("a.b", fail, name="h")
    for _ in range(2):
        bus.publish("a.b")
        wait_for(lambda: bool([*bus.dead_letters.list()]), what="a dead letter")
        assert bus.join(10)
        nats_streams.api(url, ("STREAM.DELETE._eventbus_dead", None))
        assert [*bus.dead_letters.list()] == []
        assert bus.dead_letters.get("nowhere") is None


def test_many_dead_letters_are_read_in_pages(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "PAGE", 3)
    bus.subscribe("a.b", fail, name="h")
    bus.publish_many([("a.b", n) for n in range(8)])
    assert bus.join(10)

    store = bus._engine.transport.dead_letters
    ids = [letter.id for letter in store.list(None)]
    assert len(set(ids)) == len(bus.dead_letters.list()) == 8
    # Removed while they are read: there are fewer.
    pages = store.list(None)
    next(pages)
    assert store.remove([*ids[3:], "not an id", "unknown"]) == 5
    assert len([*pages]) == 2
    assert (store.remove([]), store.get("not an id")) == (0, None)


def test_a_dead_letter_that_was_stored_twice_is_one(bus: EventBus) -> None:
    bus.subscribe("a.b", fail, name="h")
    bus.publish_many([("a.b", n) for n in range(3)])
    assert bus.join(10)
    store = bus._engine.transport.dead_letters
    letters = [*store.list(None)]
    with store._lock() as link:
        copies = [settling.bury(letter, 1_000_000) for letter in letters]
        link.run(settling.store(link, copies, [names.DEAD]))
        assert len(link.run(reader.read(link, names.DEAD, "_eventbus.dead.*.*"))) == 6

    assert len(bus.dead_letters.list()) == 3
    assert bus.dead_letters.purge(letters[1].id) == 1
    assert bus.dead_letters.purge() == 2
    with store._lock() as link:
        assert link.run(reader.read(link, names.DEAD, "_eventbus.dead.*.*")) == []


def test_many_subscriptions_are_read_in_pages(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAGE", 2)
    for number in range(5):
        bus._engine.transport.declare(SubscriptionId("g", f"a.{number}"), "latest")
    assert [one.pattern for one in bus.subscriptions.list()] == [f"a.{n}" for n in range(5)]


# -- backlog -------------------------------------------------------------------------------------


def test_the_backlog_counts_what_runs_and_what_waits(bus: EventBus) -> None:
    gate, id = Gate(), SubscriptionId("g", "a.*")

    def hold(event: Event) -> None:
        if event.payload == "held":
            gate()

    bus.subscribe("a.*", hold, name="h")
    bus.publish_many([("a.b", 1), ("other", 2)])
    assert bus.join(10)
    transport = bus._engine.transport
    mark = transport.mark()
    bus.publish_many([("a.c", "held"), ("a.d", "held")])
    gate.wait_reached()

    wait_for(lambda: transport.backlog(id) == 2, what="two")
    # What runs now came later.
    assert transport.backlog(id, mark) == 0
    assert transport.backlog(id, transport.mark()) > 0
    gate.open()
    assert bus.join(10)
    assert transport.backlog(id) == transport.backlog(SubscriptionId("g", "never")) == 0


def test_a_waiting_retry_is_backlog_and_a_parked_event_is_not(bus: EventBus) -> None:
    seen = Received()

    def later(event: object) -> None:
        seen(event)  # type: ignore[arg-type]
        raise RetryLater(delay=3_600.0)

    bus.subscribe("a.b", later, name="h")
    bus.publish("a.b")
    seen.wait(1)
    wait_for(lambda: bus._engine.transport.backlog(ID) == 0, what="parking")
    assert bus.join(10)


def test_a_pattern_without_a_consumer_yet_has_all_of_a_younger_stream(
    bus: EventBus, url: str
) -> None:
    id = SubscriptionId("g", "*.paid")
    transport = bus._engine.transport
    transport.declare(id, "latest")
    nats_streams.create(url, "shop", "order.>")
    bus.publish("order.paid")
    bus.publish("order.sent")

    assert transport.backlog(id) == 1
    nats_streams.api(url, ("STREAM.PURGE.shop", {"filter": "order.paid"}))
    assert transport.backlog(id) == 0

"""Dead letters as users see them: look, replay, purge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eventbus import BusClosedError, Event, EventBus, Reject, RetryPolicy, TopologyError
from tests.conformance.target import Received, Target, publish_raw, wait_for


class Switch:
    """A handler that rejects everything until it is repaired."""

    def __init__(self) -> None:
        self.__qualname__ = "switch"
        self.repaired = False
        self.received = Received()

    def __call__(self, event: Event) -> None:
        if not self.repaired:
            raise Reject(f"not yet: {event.payload}")
        self.received(event)


@pytest.fixture
def switch() -> Switch:
    return Switch()


def bury(bus: EventBus, *payloads: object, type: str = "user.created") -> list[Event]:
    """Publish events and wait until each is a dead letter."""
    before = len(bus.dead_letters.list("*"))
    # Of one key, so that they fail one after the other, wherever the broker puts them.
    events = bus.publish_many(Event(type, payload, key="buried") for payload in payloads)
    wait_for(lambda: len(bus.dead_letters.list("*")) == before + len(payloads), what="dead letters")
    return events


def test_a_dead_letter_tells_everything(target: Target, switch: Switch) -> None:
    bus = target.bus(group="mailer")
    bus.subscribe("user.*", switch, name="welcome")
    event = bus.publish("user.created", {"id": 7}, key="7", metadata={"trace": "abc"})
    wait_for(lambda: bus.dead_letters.list(), what="the dead letter")

    (letter,) = bus.dead_letters.list()

    assert letter == bus.dead_letters.get(letter.id)
    assert (letter.event_id, letter.group, letter.pattern, letter.handler, letter.reason) == (
        event.id, "mailer", "user.*", "welcome", "rejected",
    )
    assert letter.attempts == 1
    assert "not yet" in letter.error
    assert letter.first_failed_at <= letter.failed_at
    assert letter.event is not None
    assert (letter.event.payload, letter.event.key) == ({"id": 7}, "7")
    assert (letter.event.metadata, letter.event.timestamp) == ({"trace": "abc"}, event.timestamp)


def test_looking_a_hundred_times_changes_nothing(target: Target, switch: Switch) -> None:
    bus = target.bus()
    bus.subscribe("user.created", switch)
    bury(bus, 1, 2, 3)
    first = bus.dead_letters.list()

    for _ in range(100):
        assert bus.dead_letters.list() == first
    assert sorted(letter.event.payload for letter in first if letter.event) == [1, 2, 3]
    assert first == sorted(first, key=lambda letter: letter.failed_at)


def test_replay_goes_to_the_handler_that_failed_and_keeps_the_id(
    target: Target, switch: Switch
) -> None:
    bus, others, neighbours = target.bus(group="mailer"), target.bus(group="audit"), Received()
    bus.subscribe("user.created", switch, name="failing")
    bus.subscribe("user.created", neighbours, name="neighbour")
    other_group = Received()
    (bus if not target.capabilities.multi_process else others).subscribe(
        "user.created", other_group, group="audit"
    )
    events = bury(bus, "a", "b")
    wait_for(lambda: len(neighbours) == len(other_group) == 2, what="the others")
    switch.repaired = True

    assert bus.dead_letters.replay() == 2

    wait_for(lambda: len(switch.received) == 2, what="the replays")
    assert {event.id for event in switch.received.events} == {event.id for event in events}
    assert [event.attempt for event in switch.received.events] == [1, 1]
    assert bus.dead_letters.list() == []
    assert (len(neighbours), len(other_group)) == (2, 2)


def test_what_fails_again_is_a_dead_letter_again_and_not_replayed_twice(
    target: Target, switch: Switch
) -> None:
    bus = target.bus()
    bus.subscribe("user.created", switch, retry=RetryPolicy(pause_after=1_000))
    bury(bus, *range(120))
    before = {letter.id for letter in bus.dead_letters.list()}

    assert bus.dead_letters.replay() == 120

    wait_for(lambda: len(bus.dead_letters.list()) == 120, what="the dead letters to come back")
    after = {letter.id for letter in bus.dead_letters.list()}
    assert not before & after


@pytest.mark.needs(multi_process=True)
def test_replay_from_a_process_that_hosts_no_handler(target: Target, switch: Switch) -> None:
    worker, operator = target.bus(group="mailer"), target.bus(group="mailer")
    worker.subscribe("user.created", switch)
    bury(worker, 1)
    switch.repaired = True

    assert operator.dead_letters.replay() == 1

    wait_for(lambda: switch.received.payloads == [1], what="the replay")


@pytest.mark.parametrize(
    ("choose", "left"),
    [
        (lambda found: {"type": "user.*"}, ["o1"]),
        (lambda found: {"type": "order.paid"}, ["u1", "u2"]),
        (lambda found: {"reason": "failed"}, ["u1", "u2", "o1"]),
        (lambda found: {"reason": "rejected"}, []),
        (lambda found: {"older_than": 3600}, ["u1", "u2", "o1"]),
        (lambda found: {"older_than": timedelta(0)}, []),
        (lambda found: {"maximum": 2}, ["o1"]),
        (lambda found: {"maximum": 0}, ["u1", "u2", "o1"]),
        (lambda found: {"group": "nobody"}, ["u1", "u2", "o1"]),
        (lambda found: {"group": "*"}, []),
    ],
)
@pytest.mark.parametrize("action", ["replay", "purge"])
def test_filters(
    target: Target, switch: Switch, choose: Callable[[object], dict[str, object]],
    left: list[str], action: str,
) -> None:
    bus = target.bus()
    subscription = bus.subscribe("**", switch)
    bury(bus, "u1", "u2")
    bury(bus, "o1", type="order.paid")
    subscription.cancel()
    arguments = choose(None)
    chosen = bus.dead_letters.list(**arguments)

    assert getattr(bus.dead_letters, action)(**arguments) == len(chosen) == 3 - len(left)

    remaining = [letter.event.payload for letter in bus.dead_letters.list() if letter.event]
    assert remaining == left


def test_purge_and_replay_by_id_pass_over_what_is_gone(target: Target, switch: Switch) -> None:
    bus = target.bus()
    bus.subscribe("user.created", switch)
    bury(bus, 1, 2, 3)
    first, second, third = (letter.id for letter in bus.dead_letters.list())
    switch.repaired = True
    progress: list[str] = []

    assert bus.dead_letters.purge(first, "no-such-id") == 1
    assert bus.dead_letters.replay(first, second, progress=lambda x: progress.append(x.id)) == 1

    assert progress == [second]
    assert [letter.id for letter in bus.dead_letters.list()] == [third]
    assert bus.dead_letters.get(first) is None
    wait_for(lambda: switch.received.payloads == [2], what="the replay")


def test_a_rate_is_kept(target: Target, switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = target.bus()
    subscription = bus.subscribe("user.created", switch)
    bury(bus, *range(30))
    subscription.cancel()
    pauses: list[float] = []
    monkeypatch.setattr("eventbus.deadletter.sleep", pauses.append)

    assert bus.dead_letters.replay(rate=100.0) == 30

    # Three batches of ten, a tenth of a second each.
    assert len(pauses) == 3
    assert all(0.0 <= pause <= 0.1 for pause in pauses)


def test_without_its_subscription_a_dead_letter_stays(target: Target, switch: Switch) -> None:
    bus = target.bus(group="mailer")
    gone = bus.subscribe("user.created", switch)
    bus.subscribe("order.paid", switch)
    bury(bus, "u")
    bury(bus, "o", type="order.paid")
    gone.cancel()
    wait_for(lambda: _drop(bus, "mailer", "user.created"), what="the drop")
    switch.repaired = True

    with pytest.raises(TopologyError, match=r"1 dead letters were replayed, 1 were not.*mailer"):
        bus.dead_letters.replay()

    wait_for(lambda: switch.received.payloads == ["o"], what="the other replay")
    assert [letter.event.payload for letter in bus.dead_letters.list() if letter.event] == ["u"]


def _drop(bus: EventBus, group: str, pattern: str) -> bool:
    return bus.subscriptions.drop(group, pattern)


def test_undecodable_bytes_are_replayed_to_every_handler(target: Target) -> None:
    bus = target.bus()
    first, second = Received(), Received()
    bus.subscribe("user.created", first, name="first")
    bus.subscribe("user.created", second, name="second")
    publish_raw(bus, "user.created", b"?")
    wait_for(lambda: bus.dead_letters.list(), what="the dead letter")
    (letter,) = bus.dead_letters.list()
    assert (letter.event, letter.event_id, letter.handler, letter.data) == (None, None, None, b"?")
    assert bus.dead_letters.replay() == 1

    # Still no event: one dead letter again, under another id.
    wait_for(
        lambda: [x.id for x in bus.dead_letters.list() if x.id != letter.id],
        what="the next dead letter",
    )
    assert len(bus.dead_letters.list()) == 1
    assert (len(first), len(second)) == (0, 0)


def test_another_prefix_is_out_of_sight(target: Target, switch: Switch) -> None:
    bus = target.bus(prefix="prod")
    bus.subscribe("user.*", switch)
    bury(bus, 1)
    (letter,) = bus.dead_letters.list()
    other = EventBus(bus.config, environ={}, prefix="test")
    other._engine.transport = bus._engine.transport

    assert letter.pattern == "user.*"
    assert letter.event is not None
    assert letter.event.type == "user.created"
    assert other.dead_letters.list("*") == []
    assert other.dead_letters.get(letter.id) is None
    assert other.dead_letters.purge(letter.id) == 0
    assert [found.id for found in bus.dead_letters.list()] == [letter.id]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reason": "tired"}, "failed, rejected, undecodable, crashed"),
        ({"maximum": -1}, "maximum is -1"),
        ({"older_than": -1.0}, "older_than"),
        ({"older_than": float("nan")}, "older_than"),
        ({"type": "a..b"}, "a..b"),
        ({"group": "no group"}, "no group"),
    ],
)
def test_bad_filters_are_refused(
    target: Target, arguments: dict[str, object], message: str
) -> None:
    bus = target.bus()
    for action in (bus.dead_letters.list, bus.dead_letters.replay, bus.dead_letters.purge):
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            action(**arguments)
    with pytest.raises(ValueError, match="rate"):
        bus.dead_letters.replay(rate=0)


def test_a_closed_bus_says_so(target: Target) -> None:
    bus = target.bus()
    bus.close()

    for action in (bus.dead_letters.list, bus.dead_letters.replay, bus.subscriptions.list):
        with pytest.raises(BusClosedError):
            action()

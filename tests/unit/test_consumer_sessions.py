"""Sessions of the consumer thread with a scripted broker: what survives their end."""

from __future__ import annotations

import logging

import msgspec
import pytest

from eventbus import TopologyError, TransportUnavailable
from eventbus._engine import consumer, reconnect
from tests.unit.engine_fakes import (
    CAPABILITIES,
    ID,
    InlineDispatcher,
    ScriptedBroker,
    begin,
    delivery,
    loop_of,
    member,
    play,
)


@pytest.fixture
def dispatcher():
    return InlineDispatcher()


@pytest.fixture
def at_once(monkeypatch):
    """Sessions that died at once are tried again without a pause."""
    monkeypatch.setattr(reconnect, "SHORTEST", 0.0)
    monkeypatch.setattr(reconnect, "LONGEST", 0.0)
    monkeypatch.setattr(reconnect, "PERMANENT", 0.0)


def test_a_settlement_that_failed_is_settled_in_the_next_session(dispatcher, at_once):
    one = delivery()
    broker = ScriptedBroker([one])
    broker.settle_errors = [TransportUnavailable("cut")]
    loop = loop_of(broker, dispatcher)
    served = member(dispatcher)
    play(loop, served)

    assert broker.acked == [one]
    assert (loop.reconnects, loop.drained, served.counters.handled) == (1, True, 1)


def test_receipts_that_die_with_their_session_are_not_settled_in_the_next(dispatcher, at_once):
    fragile = msgspec.structs.replace(CAPABILITIES, receipts_survive=False)
    finished, running, waiting, again = (delivery(n) for n in range(4))
    seen = []

    def stick():
        dispatcher.busy = True
        return [running, waiting]

    def cut():
        attempts.append(begin(dispatcher))
        return TransportUnavailable("cut")

    def finish():
        dispatcher.busy = False
        served.succeed(attempts.pop())
        return [again]

    attempts = []
    broker = ScriptedBroker([finished], stick, cut, finish, capabilities=fragile)
    broker.settle_errors = [TransportUnavailable("cut")]
    served = member(dispatcher, lambda event: seen.append(event.payload))
    play(loop_of(broker, dispatcher), served)

    assert [one.receipt for held in broker.held for one in held] == [None]
    assert seen == [0, 3]
    assert (broker.acked, broker.released) == ([again], [])
    assert (served.in_flight, served.in_flight_bytes) == (set(), 0)


def test_what_is_held_is_told_to_the_next_session_where_receipts_survive(dispatcher, at_once):
    dispatcher.busy = True
    one = delivery()
    broker = ScriptedBroker([one], TransportUnavailable("cut"))
    play(loop_of(broker, dispatcher), member(dispatcher))

    assert broker.held == [[], [one]]
    assert broker.released == [one]
    assert [session.closed for session in broker.sessions] == [True, True]


def test_a_member_removed_while_disconnected_is_not_attached_again(dispatcher, at_once):
    served, other = member(dispatcher), member(dispatcher, id=ID._replace(group="other"))

    def remove_and_cut():
        loop.remove(served)
        return TransportUnavailable("cut")

    broker = ScriptedBroker(remove_and_cut, ())
    loop = loop_of(broker, dispatcher)
    play(loop, served, other)

    assert broker.sessions[-1].attached == [other.id]


@pytest.mark.parametrize("shared", [False, True])
def test_a_successor_takes_over_what_is_attached(dispatcher, shared):
    """The consumer has asked for events already, and is not to ask a second time beside that."""
    served, following, third = (member(dispatcher) for _ in range(3))

    def follow():
        loop.remove(served)
        loop.add(following)

    def cancel_at_once():
        loop.remove(following)
        loop.add(third)
        loop.remove(third)

    broker = ScriptedBroker(
        follow, (), cancel_at_once, (),
        capabilities=msgspec.structs.replace(CAPABILITIES, cross_process_order=shared),
    )
    loop = loop_of(broker, dispatcher)
    other = member(dispatcher, id=ID._replace(group="other"))
    play(loop, served, other)

    session = broker.sessions[0]
    assert sorted(session.attached) == [ID, other.id]
    assert session.detached[:1] == [ID] and session.detached.count(ID) == 1


def test_a_subscription_that_vanished_is_counted_and_reported(dispatcher, caplog):
    broker = ScriptedBroker(())
    broker.vanished = True
    served = member(dispatcher)
    with caplog.at_level(logging.WARNING):
        play(loop_of(broker, dispatcher), served)

    assert served.counters.topology_lost >= 1
    assert "had vanished from the broker and was created again" in caplog.text


@pytest.mark.parametrize(
    ("error", "state"),
    [(TransportUnavailable("away"), "connecting"), (TopologyError("wrong"), "failed")],
)
def test_the_state_tells_what_kind_of_trouble_it_is(dispatcher, at_once, error, state):
    states = []
    served = member(dispatcher)
    broker = ScriptedBroker(error)
    connect = broker.consumer

    def note_and_connect(held):
        states.append(served.state)
        return connect(held)

    broker.consumer = note_and_connect
    broker.next_step = _noting(broker, states, served)
    play(loop_of(broker, dispatcher), served)

    # Before the first session, in it, before the second, in it.
    assert states[:4] == ["connecting", "running", state, "running"]
    assert served.state == "closed"


def _noting(broker, states, served):
    step = broker.next_step

    def note():
        states.append(served.state)
        return step()

    return note


def test_a_paused_subscription_stays_paused_when_the_session_is_rebuilt(dispatcher, at_once):
    served = member(dispatcher)
    states = []

    def pause():
        served.state = "paused"
        served.probe_at = 0.0
        return TransportUnavailable("cut")

    def note():
        states.append(served.state)
        served.probe_at = 0.0

    play(loop_of(ScriptedBroker(pause, note), dispatcher), served)
    assert states == ["paused"]


def test_draining_while_disconnected_connects_again_to_settle(dispatcher):
    one = delivery()
    broker = ScriptedBroker([one])
    broker.settle_errors = [TransportUnavailable("cut")]
    loop = loop_of(broker, dispatcher)

    def close_meanwhile():
        broker.refusals = [TransportUnavailable("still away")] * 2
        loop.drain(consumer.monotonic() + 10)

    on_failure(loop, close_meanwhile)
    play(loop, member(dispatcher))

    assert broker.acked == [one]
    assert loop.drained


def test_draining_while_disconnected_with_nothing_to_settle_is_done_at_once(dispatcher):
    broker = ScriptedBroker()
    broker.refusals = [TransportUnavailable("away")] * 2
    loop = loop_of(broker, dispatcher)
    on_failure(loop, lambda: loop.drain(consumer.monotonic() + 10))
    play(loop, member(dispatcher))

    assert loop.drained
    assert len(broker.refusals) == 1
    assert broker.sessions == []


def test_draining_without_a_connection_ends_at_the_deadline(dispatcher):
    dispatcher.busy = True
    broker = ScriptedBroker([delivery()], TransportUnavailable("cut"))
    loop = loop_of(broker, dispatcher)

    def stay_away_and_close():
        broker.refusals = [TransportUnavailable("away")] * 1_000_000
        loop.drain(consumer.monotonic() + 0.2)

    on_failure(loop, stay_away_and_close)
    begun = consumer.monotonic()
    play(loop, member(dispatcher))

    assert 0.2 <= consumer.monotonic() - begun < 5.0
    assert not loop.drained
    assert broker.settlements == []


def on_failure(loop, action):
    """Do something when the first session has failed, before the pause that follows."""
    failed = loop._session_failed

    def act(error):
        loop._session_failed = failed
        action()
        failed(error)

    loop._session_failed = act


def test_a_loop_that_never_served_anybody_is_drained_at_once(dispatcher):
    loop = loop_of(ScriptedBroker(), dispatcher)
    loop.drain(consumer.monotonic() + 10)
    assert loop.finished.is_set() and loop.drained

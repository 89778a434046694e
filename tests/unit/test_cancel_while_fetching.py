"""A handler that is cancelled while the broker is handing over events for it."""

from __future__ import annotations

from eventbus import TransportUnavailable
from eventbus._engine import reconnect
from eventbus.transports.base import SubscriptionId
from tests.unit.engine_fakes import (
    InlineDispatcher,
    ScriptedBroker,
    delivery,
    loop_of,
    member,
    play,
)


def test_what_arrives_for_a_member_that_has_just_been_cancelled_is_given_back():
    dispatcher = InlineDispatcher()
    handled = []
    one = member(dispatcher, lambda event: handled.append(event.payload))
    late = [delivery(1), delivery(2)]

    def cancel_meanwhile():
        one.remove(one.bindings[0])
        loop.remove(one)
        return late

    broker = ScriptedBroker(cancel_meanwhile)
    loop = loop_of(broker, dispatcher)
    # Nothing is fetched any more, so the script does not come to its end by itself.
    loop._session_failed = lambda error: loop.drain(float("inf"))
    broker.on_settle = lambda settlement: loop.drain(float("inf"))

    play(loop, one)

    assert broker.released == late
    assert (broker.acked, handled) == ([], [])
    assert len(broker.sessions) == 1, "the session broke down"


def test_it_is_not_given_to_the_member_that_has_just_followed():
    dispatcher = InlineDispatcher()
    handled = []
    one, following = member(dispatcher), member(dispatcher, handled.append)
    late = [delivery(1), delivery(2)]

    def cancel_and_subscribe_meanwhile():
        one.remove(one.bindings[0])
        loop.remove(one)
        loop.add(following)
        return late

    broker = ScriptedBroker(cancel_and_subscribe_meanwhile)
    loop = loop_of(broker, dispatcher)
    broker.on_settle = lambda settlement: loop.drain(float("inf"))

    play(loop, one)

    assert broker.released == late
    assert handled == []


def test_a_cancelled_member_is_let_go_though_giving_back_ends_the_session(monkeypatch):
    monkeypatch.setattr(reconnect, "SHORTEST", 0.0)
    dispatcher = InlineDispatcher()
    dispatcher.busy = True
    one, other = member(dispatcher), member(dispatcher, id=SubscriptionId("g", "c.d"))

    def cancel_meanwhile():
        one.remove(one.bindings[0])
        loop.remove(one)
        return [delivery(1)]

    broker = ScriptedBroker(cancel_meanwhile, ())
    broker.settle_errors = [TransportUnavailable("away")]
    loop = loop_of(broker, dispatcher)

    play(loop, one, other)

    assert len(broker.sessions) == 2, "the connection was not lost"
    assert loop.members == (other,)

"""Closing while the broker is away, with outcomes that would be worth settling."""

from __future__ import annotations

import time

from eventbus import ConfigurationError, TransportUnavailable
from tests.unit.engine_fakes import InlineDispatcher, ScriptedBroker, delivery, loop_of, member


def test_it_tries_again_a_few_times_a_second_and_gives_up_at_the_deadline():
    dispatcher = InlineDispatcher()
    dispatcher.busy = True  # The handler's outcome never comes.
    broker = ScriptedBroker([delivery(1)], TransportUnavailable("cut"))
    loop = loop_of(broker, dispatcher)
    one = member(dispatcher)
    loop.add(one)
    deadline = time.monotonic() + 20
    while not one.in_flight or not loop.reconnects:
        assert time.monotonic() < deadline
    broker.refusals = [TransportUnavailable("away"), ConfigurationError("no such host")] * 5_000
    before = len(broker.held)

    loop.drain(time.monotonic() + 1.0)

    assert loop.finished.wait(5)
    assert loop.drained is False
    assert 2 <= len(broker.held) - before <= 15

"""A dead letter and the ack of its delivery are one settlement, or a kill between makes two."""

from __future__ import annotations

import pytest

from tests.unit.engine_fakes import (
    InlineDispatcher,
    ScriptedBroker,
    add_handler,
    delivery,
    loop_of,
    member,
    play,
)


def fail(event):
    raise RuntimeError("no")


@pytest.mark.parametrize("handlers", [1, 2])
def test_a_dead_letter_is_settled_together_with_its_ack(handlers):
    dispatcher = InlineDispatcher()
    one = member(dispatcher, fail)
    if handlers == 2:
        add_handler(one, lambda event: None, name="other")
    broker = ScriptedBroker([delivery(1)], [], [])

    play(loop_of(broker, dispatcher), one)

    settlements = [s for s in broker.settlements if s.dead or s.acks]
    assert [(len(s.dead), len(s.acks)) for s in settlements] == [(1, 1)]

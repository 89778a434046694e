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


def letters_of(*deliveries, handler=fail):
    """Ids of the dead letters, each of a process that gets the event anew."""
    found = []
    for one in deliveries:
        dispatcher = InlineDispatcher()
        broker = ScriptedBroker([one], [], [])
        play(loop_of(broker, dispatcher), member(dispatcher, handler))
        found += [letter.id for s in broker.settlements for _, letter in s.dead]
    return found


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [("", "", True), ("letter", "letter", True), ("", "letter", False), (None, None, False)],
)
def test_an_event_that_fails_again_after_a_kill_leaves_the_same_dead_letter(first, second, same):
    data = delivery(1).data

    one, other = letters_of(
        delivery(1, data=data, origin=first), delivery(1, data=data, origin=second)
    )

    assert (one == other) is same


def test_dead_letters_of_other_events_and_of_no_events_differ():
    broken = [delivery(data=b"{", origin="") for _ in range(2)]
    ids = letters_of(delivery(1, origin=""), delivery(1, origin=""), *broken)
    assert len(set(ids)) == 4


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

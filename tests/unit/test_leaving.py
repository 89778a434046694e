"""A cancelled member of a broker that hands out whole shares of a group."""

from __future__ import annotations

import msgspec
import pytest

from eventbus._engine import consumer, leaving
from tests.unit.engine_fakes import (
    CAPABILITIES,
    ID,
    Clock,
    InlineDispatcher,
    ScriptedBroker,
    begin,
    delivery,
    loop_of,
    member,
    play,
)

SHARING = msgspec.structs.replace(CAPABILITIES, cross_process_order=True)
GRACE = 5.0


@pytest.fixture
def dispatcher():
    made = InlineDispatcher()
    made.busy = True
    return made


def cancel(loop, one):
    one.remove(one.bindings[0])
    loop.remove(one)


def test_a_loop_of_its_own_ends_with_its_last_member_and_takes_no_other(dispatcher):
    one = member(dispatcher)
    broker = ScriptedBroker(lambda: cancel(loop, one), capabilities=SHARING)
    loop = loop_of(broker, dispatcher, lasting=False, grace=GRACE)

    play(loop, one)

    assert (loop.drained, loop.members) == (True, ())
    assert broker.sessions[0].detached == [ID]
    assert not loop.add(member(dispatcher))


class Watched:
    """Takes a look at each turn of the loop in which it fetches for nobody."""

    def __init__(self, monkeypatch, loop, look):
        monkeypatch.setattr(loop._wakeup, "wait", lambda timeout: look())


def test_it_keeps_its_share_until_what_runs_is_through(dispatcher, monkeypatch):
    one = member(dispatcher)
    first, second = delivery(1, key="k"), delivery(2, key="k")
    running = []

    def begin_and_cancel():
        running.append(begin(dispatcher))
        cancel(loop, one)

    def finish():
        # What waited behind it was given back before that.
        assert broker.released == [second]
        assert broker.sessions[0].detached == []
        one.succeed(running[0])

    broker = ScriptedBroker([first, second], begin_and_cancel, capabilities=SHARING)
    loop = loop_of(broker, dispatcher, lasting=False, grace=GRACE)
    Watched(monkeypatch, loop, finish)

    play(loop, one)

    assert broker.acked == [first]
    assert broker.sessions[0].detached == [ID]


def test_it_gives_it_up_when_its_time_is_over(dispatcher, monkeypatch):
    clock = Clock().install(monkeypatch, consumer, leaving)
    one = member(dispatcher)
    seen = []

    def begin_and_cancel():
        seen.append(begin(dispatcher))
        cancel(loop, one)

    def pass_time():
        if broker.sessions[0].detached:
            seen.append(clock.now - 1_000.0)
            one.succeed(seen[0])
        clock.sleep(1.0)

    broker = ScriptedBroker([delivery(1)], begin_and_cancel, capabilities=SHARING)
    loop = loop_of(broker, dispatcher, lasting=False, grace=GRACE)
    Watched(monkeypatch, loop, pass_time)

    play(loop, one)

    assert GRACE <= seen[1] <= GRACE + 1.0


def test_its_successor_takes_it_over(dispatcher, monkeypatch):
    one, following = member(dispatcher), member(dispatcher)

    def cancel_and_follow():
        running = begin(dispatcher)
        cancel(loop, one)
        assert loop.add(following)
        one.succeed(running)

    broker = ScriptedBroker([delivery(1)], cancel_and_follow, (), capabilities=SHARING)
    loop = loop_of(broker, dispatcher, lasting=False, grace=GRACE)

    play(loop, one)

    assert broker.sessions[0].detached == []
    assert len(broker.acked) == 1
    assert loop.members == (following,)

"""What a member does with deliveries that some handler has dealt with already."""

from __future__ import annotations

from tests.unit.engine_fakes import InlineDispatcher, add_handler, begin, delivery, member


def test_an_only_handler_that_has_succeeded_elsewhere_is_not_called_again():
    dispatcher = InlineDispatcher()
    handled = []
    one = member(dispatcher, handled.append, name="h")
    again = delivery(1)
    again.succeeded = ("h",)

    assert one.admit([again]) == [again]

    dispatcher.start()
    assert handled == []


def test_of_two_handlers_only_the_one_that_has_not_succeeded_is_called():
    dispatcher = InlineDispatcher()
    first, second = [], []
    one = member(dispatcher, first.append, name="first")
    add_handler(one, second.append, name="second")
    again = delivery(1)
    again.succeeded = ("first",)

    assert one.admit([again]) == []

    dispatcher.start()
    assert (len(first), len(second)) == (0, 1)


def test_after_a_cancelled_member_a_key_goes_on_when_what_runs_there_is_done():
    dispatcher = InlineDispatcher()
    old, new, newest = (member(dispatcher) for _ in range(3))
    old.admit([delivery(1, key="k"), delivery(2, key="k")])
    running = begin(dispatcher)
    new.follow(old)
    old.remove(running.binding)
    old.take_back()
    newest.follow(new)

    newest.admit([delivery(2, key="k"), delivery(3, key="k"), delivery(4, key="other")])
    assert [attempt.delivery.key for attempt in newest.unstarted] == ["other"]

    old.succeed(running)
    assert [attempt.delivery.key for attempt in newest.unstarted] == ["other", "k"]
    dispatcher.start()
    assert not newest.unstarted


def test_a_member_that_closes_lets_the_next_one_have_the_key():
    dispatcher = InlineDispatcher()
    old, new = member(dispatcher), member(dispatcher)
    old.admit([delivery(1, key="k"), delivery(2, key="k")])
    running = begin(dispatcher)
    new.follow(old)
    old.close()
    new.admit([delivery(3, key="k")])
    assert not new.unstarted

    old.succeed(running)
    assert len(new.unstarted) == 1
    assert len(old.given_up()) == 1


def test_what_waits_behind_an_event_that_a_cancelled_member_gives_back_goes_back_behind_it():
    dispatcher = InlineDispatcher()
    old, new = member(dispatcher), member(dispatcher)
    first, second, third = (delivery(number, key="k") for number in (1, 2, 3))
    old.admit([first])
    running = begin(dispatcher)
    new.follow(old)
    new.admit([second, third, delivery(4, key="other")])

    assert old.withdraw(running)

    assert new.given_up() == [second, third]
    assert begin(dispatcher).delivery.key == "other"
    assert not dispatcher.ready
    # The key is free for what comes next.
    new.admit([first])
    assert begin(dispatcher).delivery is first

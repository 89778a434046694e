"""What a member does with deliveries that some handler has dealt with already."""

from __future__ import annotations

from tests.unit.engine_fakes import InlineDispatcher, add_handler, delivery, member


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

"""`wait_for`: until a condition is true, or the time is over."""

from __future__ import annotations

import time
from itertools import count
from threading import Event as Flag
from threading import Timer

import pytest

from eventbus.testing import wait_for


def test_returns_what_the_condition_returns():
    numbers = count()

    assert wait_for(lambda: next(numbers) >= 3 and "done") == "done"


def test_waits_for_another_thread():
    flag = Flag()
    timer = Timer(0.05, flag.set)
    timer.start()
    wait_for(flag.is_set)
    timer.join()


def test_looks_at_least_once():
    assert wait_for(lambda: True, timeout=0.0)


def test_says_what_it_waited_for_and_what_was_there():
    started = time.monotonic()
    with pytest.raises(AssertionError) as caught:
        wait_for(lambda: [], timeout=0.05, message="three invoices")

    assert str(caught.value) == "not within 0.05 s: three invoices (last: [])"
    assert 0.05 <= time.monotonic() - started < 2


def test_a_message_can_be_made_at_the_end():
    seen = []
    with pytest.raises(AssertionError, match="3 so far"):
        wait_for(lambda: seen.append(1) or len(seen) > 3, 0.0, lambda: f"{len(seen) + 2} so far")


def test_without_a_message_it_names_the_condition_and_its_place():
    with pytest.raises(AssertionError, match=r"<lambda> \(.*test_wait_for\.py:\d+\)"):
        wait_for(lambda: False, timeout=0.0)
    with pytest.raises(AssertionError, match="is_set"):
        wait_for(Flag().is_set, timeout=0.0)


def test_what_the_condition_raises_is_not_caught():
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0)

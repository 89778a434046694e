"""The arithmetic of retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import RetryPolicy

policies = st.builds(
    RetryPolicy, initial=st.floats(0.001, 10), maximum=st.floats(10, 1000),
    multiplier=st.floats(1, 10), jitter=st.booleans(),
)


@given(policies, st.integers(1, 10**6), st.floats(0, 1))
def test_a_delay_is_within_its_bounds(policy, attempt, chance):
    try:
        base = min(policy.initial * policy.multiplier ** (attempt - 1), policy.maximum)
    except OverflowError:
        base = policy.maximum
    delay = policy.delay(attempt, lambda: chance)
    low = base / 2 if policy.jitter else base
    assert low * (1 - 1e-9) <= delay <= base * (1 + 1e-9)


@given(policies, st.integers(1, 10**6))
def test_delays_never_shrink_and_never_pass_the_maximum(policy, attempt):
    now, later = (policy.delay(n, lambda: 1.0) for n in (attempt, attempt + 1))
    assert now <= later <= policy.maximum


def test_no_attempt_overflows():
    policy = RetryPolicy(initial=1e300, maximum=1e308, multiplier=1e300, jitter=False)
    assert policy.delay(10**18) == 1e308
    assert RetryPolicy(initial=0, jitter=False).delay(10**6) == 0


def test_delays_double_up_to_the_maximum():
    policy = RetryPolicy(initial=1, maximum=5, multiplier=2, jitter=False)
    assert [policy.delay(n) for n in (1, 2, 3, 4, 100)] == [1, 2, 4, 5, 5]


def test_it_gives_up_after_the_last_attempt_or_on_a_listed_exception():
    policy = RetryPolicy(max_attempts=2, give_up_on=(KeyError,))
    assert not policy.gives_up(ValueError(), 1)
    assert policy.gives_up(ValueError(), 2)
    assert policy.gives_up(KeyError(), 1)


@pytest.mark.parametrize(
    "wrong",
    [{"max_attempts": 0}, {"initial": -1}, {"initial": float("nan")}, {"multiplier": 0.5},
     {"maximum": float("inf")}, {"give_up_on": ("KeyError",)}, {"max_attempts": True}],
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        RetryPolicy(**wrong)

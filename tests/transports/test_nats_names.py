"""Patterns as filters, and names as segments and consumers of NATS: nothing lost, none confused."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.patterns import canonical, matches
from eventbus.transports.base import SubscriptionId
from eventbus.transports.nats import filters, names

SEGMENTS = ("a", "b")
NAMES = [".".join(p) for size in (1, 2, 3, 4) for p in product(SEGMENTS, repeat=size)]
PATTERNS = sorted({
    canonical(".".join(p))
    for size in (1, 2, 3, 4) for p in product((*SEGMENTS, "*", "**"), repeat=size)
})


def passes(filter: str, name: str) -> bool:
    """What a server does, said in another way."""
    wanted, given_ = filter.split("."), name.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(given_) <= len(wanted):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(
        w in ("*", g) for w, g in zip(wanted, given_, strict=True)
    )


@pytest.mark.parametrize("pattern", PATTERNS)
def test_filters_let_pass_what_the_pattern_matches(pattern: str) -> None:
    wanted, exact = filters.subject_filters(pattern)

    for name in NAMES:
        passed = any(passes(one, name) for one in wanted)
        assert passed or not matches(pattern, name)
        assert matches(pattern, name) or not (exact and passed)
        assert passes(filters.broadest(wanted), name) or not passed
    # Servers refuse filters of one consumer that overlap.
    assert not any(filters.collide(*pair) for pair in combinations(wanted, 2))


FILTERS = ["a", "a.b", "*", "a.*", "*.b", ">", "a.>", "*.>", "a.*.>", "b.>", "a.b.>"]


@pytest.mark.parametrize("one", FILTERS)
@pytest.mark.parametrize("other", FILTERS)
def test_filters_are_compared_by_what_passes_them(one: str, other: str) -> None:
    first, second = ({n for n in NAMES if passes(f, n)} for f in (one, other))

    assert filters.collide(one, other) is bool(first & second)
    assert filters.covers(one, other) is (second <= first)


SEGMENT = st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True)
NAME = st.lists(SEGMENT, min_size=1, max_size=6).map(".".join).filter(lambda n: len(n) <= 200)
IDS = st.builds(SubscriptionId, NAME, st.one_of(NAME, st.sampled_from(PATTERNS)))


@given(IDS, IDS)
def test_no_two_subscriptions_share_a_consumer(one: SubscriptionId, other: SubscriptionId) -> None:
    assert (names.durable(one) == names.durable(other)) is (one == other)


@given(IDS, st.one_of(st.none(), st.text(max_size=40)))
def test_every_name_fits_the_server(id: SubscriptionId, handler: str | None) -> None:
    for name in (names.durable(id), names.inbox_durable(id, handler)):
        assert len(name) <= 255
        assert not set(name) & set(" .*>/\\\t\r\n")
    subject = names.inbox(id, handler)
    assert len(subject.split(".")) == 4


@given(NAME, NAME)
def test_no_two_prefixes_share_a_stream(one: str, other: str) -> None:
    assert (names.events_stream(one) == names.events_stream(other)) is (one == other)
    assert names.events_stream(one) != names.events_stream("")

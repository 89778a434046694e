"""All patterns of up to four segments over {a, *, **}, against all names they could tell apart."""

from __future__ import annotations

from itertools import product

import pytest

from eventbus.patterns import canonical, is_literal, matches, with_prefix

LONGEST = 4
PATTERNS = [
    ".".join(segments)
    for length in range(1, LONGEST + 1)
    for segments in product(("a", "*", "**"), repeat=length)
]
#: `b` is every segment that is not `a`; names two longer than the patterns show what `**` takes.
NAMES = [
    ".".join(segments)
    for length in range(1, LONGEST + 3)
    for segments in product("ab", repeat=length)
]


def naive(pattern: tuple[str, ...], name: tuple[str, ...]) -> bool:
    if not pattern:
        return not name
    first, *rest = pattern
    if first == "**":
        return any(naive(tuple(rest), name[skipped:]) for skipped in range(len(name) + 1))
    return bool(name) and first in ("*", name[0]) and naive(tuple(rest), name[1:])


def meaning(pattern: str) -> frozenset[str]:
    """The names it matches, by the naive matcher; `*` alone is every name."""
    segments = ("**",) if pattern == "*" else tuple(pattern.split("."))
    return frozenset(name for name in NAMES if naive(segments, tuple(name.split("."))))


MEANINGS = {pattern: meaning(pattern) for pattern in PATTERNS}


def matched(pattern: str) -> frozenset[str]:
    return frozenset(name for name in NAMES if matches(pattern, name))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_canonical_form_matches_what_the_pattern_says(pattern):
    spelling = canonical(pattern)
    assert meaning(spelling) == MEANINGS[pattern]
    assert canonical(spelling) == spelling
    assert matched(pattern) == matched(spelling) == MEANINGS[pattern]
    assert is_literal(spelling) == is_literal(pattern)


def test_patterns_have_one_canonical_form_exactly_when_they_mean_the_same():
    spellings: dict[frozenset[str], set[str]] = {}
    for pattern in PATTERNS:
        spellings.setdefault(MEANINGS[pattern], set()).add(canonical(pattern))
    assert [forms for forms in spellings.values() if len(forms) > 1] == []
    assert len(set().union(*spellings.values())) == len(spellings)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_prefix_moves_what_is_matched_and_changes_nothing_else(pattern):
    moved = with_prefix("p", pattern)
    assert canonical(moved) == moved
    assert frozenset(name for name in NAMES if matches(moved, f"p.{name}")) == MEANINGS[pattern]
    assert not any(matches(moved, name) for name in [*NAMES, "p"])

"""Names, canonical patterns and matching, against a naive matcher."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.patterns import (
    canonical,
    check_group,
    check_type,
    is_literal,
    matches,
    shorten,
    topic_of,
    type_of,
    with_prefix,
)

segments = st.sampled_from(["a", "b", "ab"])
names = st.lists(segments, min_size=1, max_size=5).map(".".join)
patterns = st.lists(
    st.one_of(segments, st.sampled_from(["*", "**"])), min_size=1, max_size=5
).map(".".join)
prefixes = st.sampled_from(["", "p", "p.q"])


def naive(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return naive(pattern[1:], name) or (bool(name) and naive(pattern, name[1:]))
    return bool(name) and pattern[0] in ("*", name[0]) and naive(pattern[1:], name[1:])


def meaning(pattern: str) -> list[str]:
    return ["**"] if pattern == "*" else pattern.split(".")


@given(patterns, names)
def test_matching_agrees_with_a_naive_matcher(pattern, name):
    assert matches(pattern, name) == naive(meaning(pattern), name.split("."))


@given(patterns, names)
def test_the_canonical_form_means_the_same(pattern, name):
    assert matches(canonical(pattern), name) == matches(pattern, name)
    assert canonical(canonical(pattern)) == canonical(pattern)


@given(patterns, names, prefixes)
def test_a_prefix_changes_where_and_not_what_a_pattern_matches(pattern, name, prefix):
    assert matches(with_prefix(prefix, pattern), topic_of(prefix, name)) == matches(pattern, name)
    assert type_of(prefix, topic_of(prefix, name)) == name


@given(patterns)
def test_nothing_outside_the_prefix_matches(pattern):
    assert not matches(with_prefix("p", pattern), "p")
    assert not matches(with_prefix("p", pattern), "px.a")
    assert not matches(pattern, "_eventbus.a")


@pytest.mark.parametrize(
    ("one", "other"),
    [("*", "**"), ("**.**", "**"), ("**.*", "**"), ("a.**.*", "a.*.**"), ("**.*.*", "*.*.**")],
)
def test_equal_meanings_have_one_spelling(one, other):
    assert canonical(one) == canonical(other)


def test_many_wildcards_do_not_explode():
    assert not matches(".".join(["**", "a"] * 20), ".".join(["a"] * 19 + ["b"] * 40))


@pytest.mark.parametrize(
    ("bad", "character"),
    [("a b", "' '"), ("a..b", r"'\.'"), (".a", r"'\.'"), ("a\r\nb", r"'\\r'"), ("ä", "'ä'"),
     ("a.*", r"'\*'"), ("a>", "'>'")],
)
@pytest.mark.parametrize("check", [check_type, check_group])
def test_the_offending_character_is_named(check, bad, character):
    with pytest.raises(ValueError, match=character):
        check(bad)


def test_reserved_and_long_names_are_refused():
    with pytest.raises(ValueError, match="reserved"):
        check_type("_eventbus.x")
    with pytest.raises(ValueError, match="at most 200"):
        topic_of("p" * 100, "t" * 100)


@given(st.text(st.sampled_from("ab.-0"), min_size=1, max_size=80), st.integers(32, 60))
def test_shortened_names_fit_and_stay_apart(name, limit):
    short = shorten(name, limit)
    assert len(short) <= limit
    assert short == name or shorten(short, limit) != short
    assert shorten(name + "x", limit) != short


@given(
    st.lists(st.text(st.sampled_from("ab.-0f"), min_size=1, max_size=70), unique=True),
    st.integers(32, 60),
)
def test_shortening_is_injective_also_for_its_own_results(some, limit):
    some = {*some, *(shorten(name, limit) for name in some)}
    assert len({shorten(name, limit) for name in some}) == len(some)


@given(patterns, patterns, st.lists(names, max_size=20))
def test_patterns_of_one_spelling_match_the_same(one, other, some):
    if canonical(one) == canonical(other):
        assert [matches(one, name) for name in some] == [matches(other, name) for name in some]


def test_literals_have_no_wildcard():
    assert is_literal("a.b") and not is_literal("a.*")

"""Whatever an event holds, a terminal only shows it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.cli import text

NASTY = {
    "colour": ("\x1b[31m", r"\x1b[31m"),
    "bell": ("\a", r"\x07"),
    "delete": ("\x7f", r"\x7f"),
    "C1 introducer": ("\x9b2J", r"\x9b2J"),
    "right to left": ("\u202e", r"\u202e"),
    "line separator": ("\u2028", r"\u2028"),
    "forged line": ("a\n2026 CRITICAL b", r"a\n2026 CRITICAL b"),
    "carriage return": ("good\rbad", r"good\rbad"),
    "half a pair": ("\ud800", r"\ud800"),
}


@pytest.mark.parametrize(("raw", "shown"), NASTY.values(), ids=NASTY)
def test_a_line_shows_what_could_steer_a_terminal(raw, shown):
    assert text.line(raw) == shown


def test_a_line_leaves_the_rest_alone():
    assert text.line("Grüße, 世界 [bold] :smile:") == "Grüße, 世界 [bold] :smile:"


def test_lines_stay_lines():
    assert text.lines("a\x1b\n\tb\r\nc") == "a\\x1b\n        b\\r\nc"


@given(st.text())
def test_lines_are_harmless(raw):
    assert all(one.isprintable() for one in text.lines(raw).split("\n"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), inner
    ),
)


@given(VALUES)
def test_json_is_harmless_and_the_same_value(value):
    shown = text.json(value)
    assert shown.isprintable()
    assert json.loads(shown) == value
    pretty = text.pretty(value)
    assert all(one.isprintable() for one in pretty.split("\n"))
    assert json.loads(pretty) == value


def test_json_keeps_letters_readable():
    assert text.json({"name": "Zoë \U0001f600"}) == '{"name":"Zoë \U0001f600"}'
    assert text.json("\U000e0001") == r'"\udb40\udc01"'

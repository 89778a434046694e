"""Which topics a pattern covers, in SQL. The one matcher has the last word on what is delivered."""

from __future__ import annotations

import re

from ...patterns import RESERVED, canonical, is_literal

_SEGMENT = r"\.[A-Za-z0-9_-]+"


def condition(pattern: str) -> tuple[str, list[str]]:
    """A condition on the column `topic` and its values; empty where every topic will do."""
    if is_literal(pattern):
        return "topic = %s", [pattern]
    regex = _regex(pattern)
    return ("", []) if regex is None else ("('.' || topic) ~ %s", [regex])


def _regex(pattern: str) -> str | None:
    segments = canonical(pattern).split(".")
    if segments == ["**"]:
        return None
    return rf"^(?!\.{RESERVED}(\.|$))" + "".join(map(_part, segments)) + "$"


def _part(segment: str) -> str:
    if segment == "**":
        return f"({_SEGMENT})*"
    return _SEGMENT if segment == "*" else rf"\.{re.escape(segment)}"

"""Small repairs between our docstrings and autodoc."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

import eventbus.deadletter
import eventbus.health
from eventbus._engine.member import State
from eventbus.transports.base import Reason

# Imported there for type checkers alone, and needed to print signatures.
eventbus.deadletter.Reason = Reason  # type: ignore[attr-defined]
eventbus.health.State = State  # type: ignore[attr-defined]


def without_fields(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list) -> None:
    """The fields of the bus's config have a page of their own."""
    if name == "eventbus.EventBusConfig":
        del lines[lines.index("Attributes:") :]


def plain_property(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list) -> None:
    """Napoleon takes what is in front of a colon for the property's type."""
    if what == "property":
        lines[:] = [*(inspect.getdoc(obj) or "").splitlines(), ""]


def plural(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list) -> None:
    """RST wants a blank, or an escaped one, between closing backticks and a letter."""
    lines[:] = [re.sub(r"(`[^`]+`)(?=\w)", r"\1\\ ", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    # Napoleon runs at 500.
    app.connect("autodoc-process-docstring", without_fields, priority=400)
    app.connect("autodoc-process-docstring", plural, priority=450)
    app.connect("autodoc-process-docstring", plain_property, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

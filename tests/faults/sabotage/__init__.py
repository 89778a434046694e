"""Builds that are wrong on purpose, each by one small change: the harness must catch them all.

A sabotage is a function that changes the library inside the process that calls it. Members,
publishers and replayers call those that `--sabotage` names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def apply(name: str) -> None:
    """Sabotage this process."""
    SABOTAGES[name]()


def change(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace a function by what `make` makes of it; it must exist, or nothing is sabotaged."""
    setattr(owner, name, make(getattr(owner, name)))


from . import ending, handling, publishing, storing  # noqa: E402

SABOTAGES: dict[str, Callable[[], None]] = {
    function.__name__: function
    for module in (handling, storing, ending, publishing)
    for function in module.ALL
}

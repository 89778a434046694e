"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..patterns import check_group, check_pattern, check_type
from .source import Source

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


class Name(click.ParamType):  # type: ignore[type-arg]  # Older releases of click: not generic.
    """A name that `check` accepts or explains."""

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, from `90`, `30s`, `15m`, `12h`, `7d`, `2w` or several of them: `1d12h`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value)
        if not re.fullmatch(rf"({_PART.pattern})+", value):
            self.fail(f"{value!r} is no duration: write 90s, 15m, 12h, 7d or 1d12h", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))


def _any_or_group(name: str) -> str:
    return name if name == "*" else check_group(name)


TYPE = Name("type", check_type)
PATTERN = Name("pattern", check_pattern)
GROUP = Name("group", check_group)
#: For filters: `*` stands for all groups.
GROUPS = Name("group", _any_or_group)
POSITIVE = click.FloatRange(min=0, min_open=True)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # An option may stand before or after the command; what is absent here must not unset it.
    if value:
        setattr(ctx.ensure_object(Source), str(param.name), value)


def source_options(command: F) -> F:
    """What every command takes: help, and what the `Source` in the context remembers."""
    for option in (
        click.help_option("-h", "--help"),
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=_keep,
            help="Show the traceback of an error.",
        ),
        click.option(
            "--url", metavar="URL", expose_value=False, callback=_keep,
            help="URL of the broker, such as sqlite:///events.db; the environment is ignored.",
        ),
        click.option(
            "-A", "--app", metavar="MODULE:BUS", expose_value=False, callback=_keep,
            help="Take the bus from this module; the working directory is on its path.",
        ),
    ):
        command = option(command)
    return command


def json_option(command: F) -> F:
    return click.option(
        "--json", "as_json", is_flag=True,
        help="Print JSON lines on a terminal, too.",
    )(command)


def yes_option(command: F) -> F:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)

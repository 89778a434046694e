"""What every config object shares: remembering what was given, and fields that text can set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from eventbus._config.checks import shown
from eventbus.errors import ConfigurationError

S = TypeVar("S", bound="Settings")

_BOOLEANS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)


class Settings:
    """Remembers which fields its caller spelled out, so that only those are worth a warning."""

    __slots__ = ("_given",)
    _given: frozenset[str]

    def __new__(cls, *_: Any, **given: Any) -> Any:
        self = super().__new__(cls)
        # Nobody spells out a dozen fields by hand: `dataclasses.replace` does, for every copy.
        complete = len(given) == len(dataclasses.fields(cls)) > 6  # type: ignore[arg-type]
        object.__setattr__(self, "_given", frozenset() if complete else frozenset(given))
        return self


def explicit(config: Settings, name: str) -> bool:
    """Whether somebody chose this field's value, even if it equals the default."""
    (field,) = (f for f in dataclasses.fields(config) if f.name == name)  # type: ignore[arg-type]
    return name in config._given or getattr(config, name) != _default(field)


def changed(config: S, **changes: Any) -> S:
    """A copy with these fields set, and remembered as given."""
    copy = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    object.__setattr__(copy, "_given", config._given | changes.keys())
    return copy


def merged(below: S | None, above: S) -> S:
    """`above`, with what it does not spell out taken from `below`."""
    if below is None:
        return above
    names = [f.name for f in dataclasses.fields(above)]  # type: ignore[arg-type]
    return changed(below, **{n: getattr(above, n) for n in names if explicit(above, n)})


class Form(NamedTuple):
    """How a field's value is written as text."""

    what: str
    parse: Callable[[str], Any]

    def read(self, field: str, text: str) -> Any:
        """The value of a text, or a `ConfigurationError` that names the field."""
        try:
            return self.parse(text)
        except (ValueError, KeyError, OverflowError):
            raise ConfigurationError(f"{field} is {shown(text)}: use {self.what}") from None


def settable(config: type[Settings]) -> dict[str, Form]:
    """The fields that text can set (a query, a variable)."""
    found = dataclasses.fields(config)  # type: ignore[arg-type]
    return {f.name: _FORMS[f.type] for f in found if f.type in _FORMS and f.name != "url"}


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _float_or_none(text: str) -> float | None:
    return None if text.lower() == "none" else float(text)


def _timedelta(text: str) -> timedelta:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return timedelta(seconds=number)


def _bool(text: str) -> bool:
    return _BOOLEANS[text.lower()]


TEXT = Form("text", str)
_FORMS: dict[Any, Form] = {
    "str": TEXT,
    "str | None": TEXT,
    "int": Form("a whole number", int),
    "float": Form("a number of seconds", float),
    "float | None": Form("a number of seconds, or none", _float_or_none),
    "timedelta": Form("a number of seconds", _timedelta),
    "bool": Form("true or false", _bool),
}

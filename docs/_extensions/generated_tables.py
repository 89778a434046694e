"""Directives for what the code knows better than any page: tables made from the objects themselves.

* ``capabilities-table`` compares the transports, from their `Capabilities` records;
* ``settings-table`` lists the fields of a config class: default, meaning, and reason;
* ``variables-table`` lists the environment variables;
* the role ``:value:`` writes a constant of the code, such as ``RetryPolicy.max_attempts`` or
  ``_engine.breaker.PROBE_INTERVAL``, and ``:time:`` does so for seconds, with their unit.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective, SphinxRole

from eventbus import env
from eventbus.transports import TRANSPORTS, capabilities
from eventbus.transports.base import Capabilities

Row = tuple[str, ...]

#: The fields of `Capabilities` in the order of the table, and how people ask about them.
QUESTIONS = {
    "durable": "Events and subscriptions outlive the process",
    "multi_process": "Several processes share a subscription",
    "history": "``start_from=\"earliest\"`` finds earlier events",
    "transactional_publish": "``publish(connection=...)`` joins your transaction",
    "deduplicates": "A publish of unknown outcome is sent again, and stored once",
    "bounded": "``publish`` waits for room, up to ``publish_timeout``",
    "leases": "``lease`` decides when a silent member's events go to a peer",
    "receipts_survive": "What is in flight can still be settled after a reconnect",
    "per_handler_success": "A handler that had succeeded is not run again with its siblings",
    "cross_process_order": "One key keeps its order across processes",
    "settle_interval": "Longest wait of a finished event until it is settled",
    "retention": "Old events are removed by",
}
#: Fields that say nothing to a user.
INTERNAL = {"name", "notes", "concurrent_publish", "consumer_per_subscription"}

REMOVERS = {"bus": "the bus", "broker": "the broker", "none": "nobody: settled is gone"}


def capability_rows(names: Iterable[str]) -> Iterator[Row]:
    """The header and one row per question."""
    records = [capabilities(name) for name in names]
    yield ("", *(f"``{record.name}``" for record in records))
    for field, question in QUESTIONS.items():
        yield (question, *(answer(record, field) for record in records))


def answer(record: Capabilities, field: str) -> str:
    """One cell: the value in words, and the record's own note."""
    value = getattr(record, field)
    if field == "settle_interval":
        text = f"{value * 1000:.0f} ms"
    elif field == "retention":
        text = REMOVERS[value]
    else:
        text = "yes" if value else "no"
    note = record.notes.get(field)
    return f"{text} ({note})" if note else text


def setting_rows(config: type) -> Iterator[Row]:
    """The header and one row per field: name, default, what it is, why it is so."""
    meanings, reasons = described(config), reasoned(config)
    yield ("Field", "Default", "Meaning, and the reason for the default")
    for field in dataclasses.fields(config):
        meaning = meanings.get(field.name, "")
        reason = reasons.get(field.name)
        text = f"{meaning} *{reason}*" if reason else meaning
        yield (f"``{field.name}``", f"``{shown_default(field)}``", text)


def described(config: type) -> dict[str, str]:
    """Field -> what its class's docstring says of it, from `Attributes:` or `Args:`."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        section = re.search(r"(?:Attributes|Args):\n((?: {4,}.*\n)+)", (base.__doc__ or "") + "\n")
        entries = re.split(r"\n +(?=[a-z_, ]+: )", "\n" + section[1]) if section else []
        for entry in filter(str.strip, entries):
            names, _, text = entry.partition(":")
            text = literal(" ".join(text.split()))
            found |= {name.strip(): text for name in names.split(",")}
    return found


def reasoned(config: type) -> dict[str, str]:
    """Field -> the comment in front of it."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not base.__module__.startswith("eventbus"):
            continue
        comments = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
        for (owner, name), lines in comments.items():
            if owner == base.__name__:
                found[name] = literal(" ".join(" ".join(lines).split()))
    return found


def literal(text: str) -> str:
    """Docstrings quote code once, and RST would not nest that in emphasis."""
    return text.replace("`", "")


def shown_default(field: dataclasses.Field) -> str:
    """A default as it would be typed, with long numbers and times made readable."""
    if field.default_factory is not dataclasses.MISSING:
        return f"{getattr(field.default_factory, '__name__', '...')}()"
    default = field.default
    return repr(str(default)) if isinstance(default, str) else number(default)


def number(value: Any) -> str:
    if isinstance(value, timedelta):
        return str(value).removesuffix(", 0:00:00")
    return f"{value:,}" if type(value) is int else str(value)


def duration(seconds: Any) -> str:
    if isinstance(seconds, timedelta):
        return number(seconds)
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def constant(path: str) -> Any:
    """What a dotted path below `eventbus` names; of a config class, the field's default.

    Raises:
        AttributeError, ImportError: there is no such thing (any more).
    """
    owner, _, name = path.rpartition(".")
    holder = getattr(import_module("eventbus"), owner, None) if owner else None
    if dataclasses.is_dataclass(holder):
        return {field.name: field.default for field in dataclasses.fields(holder)}[name]
    return getattr(import_module(f"eventbus.{owner}"), name)


def variable_rows() -> Iterator[Row]:
    """The header and one row per environment variable."""
    yield ("Variable", "Sets", "For provider")
    yield (f"``{env.EVENT_BUS_PROVIDER}``", "``provider``", "all")
    for variable, field in env.BUS_FIELDS.items():
        yield (f"``{variable}``", f"``{field}``", "all")
    for provider, (variable, field) in env.PROVIDER_FIELDS.items():
        yield (f"``{variable}``", f"``{field}``", f"``{provider}``")


def list_table(rows: Iterable[Row], widths: str) -> list[str]:
    """The rows as lines of RST."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in rows:
        lines += [f"   {'* -' if not place else '  -'} {cell}" for place, cell in enumerate(row)]
    return lines


class _Table(SphinxDirective):
    widths = "auto"
    optional_arguments = 1

    def rows(self) -> Iterator[Row]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        holder = nodes.container()
        lines = StringList(list_table(self.rows(), self.widths), source=__file__)
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children


class CapabilitiesTable(_Table):
    def rows(self) -> Iterator[Row]:
        return capability_rows(TRANSPORTS)


class SettingsTable(_Table):
    widths = "22 18 60"
    required_arguments = 1
    optional_arguments = 0

    def rows(self) -> Iterator[Row]:
        return setting_rows(getattr(import_module("eventbus"), self.arguments[0]))


class VariablesTable(_Table):
    def rows(self) -> Iterator[Row]:
        return variable_rows()




class Constant(SphinxRole):
    """Writes a constant, or stops the build where the code has none of that name."""

    def __init__(self, shown: Callable[[Any], str]) -> None:
        super().__init__()
        self._shown = shown

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(self._shown(constant(self.text)))], []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("capabilities-table", CapabilitiesTable)
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("variables-table", VariablesTable)
    app.add_role("value", Constant(number))
    app.add_role("time", Constant(duration))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

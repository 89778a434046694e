"""All commands are documented, and the examples in their help are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from eventbus.cli.root import root

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "cli.rst"
LINE = re.compile(r"^ +(?:\$ )?(?:.*\| )?eventbus (?P<arguments>[^|<\n]*)", re.MULTILINE)


def examples(text: str) -> list[list[str]]:
    return [shlex.split(found["arguments"]) for found in LINE.finditer(text)]


def leaves(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """The commands that do something, by their full names."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = leaves(command, f"{path}{name} ") if isinstance(command, click.Group) else None
        found |= inner or {f"{path}{name}": command}
    return found


@pytest.mark.parametrize("name", leaves(root))
def test_every_command_is_on_the_page(name):
    assert any(" ".join(one).startswith(name) for one in examples(PAGE.read_text("utf-8")))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(name, arguments, id=" ".join(arguments))
        for name, command in leaves(root).items()
        for arguments in examples(command.help or "")
    ],
)
def test_examples_in_the_help_are_understood(name, arguments):
    assert " ".join(arguments).startswith(name)
    command = leaves(root)[name]
    context = command.make_context(name, arguments[len(name.split()) :], resilient_parsing=False)
    assert context.params.keys() <= {str(param.name) for param in command.params}

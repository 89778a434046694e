"""The documentation site: it builds without a warning, its Python runs, its commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields, is_dataclass
from html import unescape

import pytest

import eventbus
from eventbus.transports import TRANSPORTS, capabilities
from eventbus.transports.base import Capabilities
from tests.docs.blocks import ROOT, Block, blocks_of, name_of, parameters, run_blocks

DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.rst")) if "_build" not in page.parts]

#: Programs that shell blocks may call, beside those that are checked further below.
PROGRAMS = {"cat", "cd", "echo", "eval", "export", "jq", "kill", "pip", "source"}
ASSIGNMENT = re.compile(r"[A-Z_]+=")
CONFIGS = [getattr(eventbus, name) for name in eventbus.__all__ if name.endswith("Config")]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """What Sphinx said, and where it wrote; with `--keep-going` the pages are there anyway."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    run = subprocess.run(
        [*command, "-d", str(out / "doctrees"), str(DOCS), str(out / "html")],
        capture_output=True, text=True, timeout=110,
    )
    return run, out / "html"


@pytest.fixture(scope="module")
def site(build):
    """The pages as a reader sees them."""
    return build[1]


def text_of(page) -> str:
    """The words of a page, one blank between two of them."""
    article = re.search(r"<article.*</article>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert article is not None
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", article[0])).split())


def test_builds_without_a_warning(build):
    run, site = build
    assert (run.returncode, run.stderr) == (0, "")
    assert (site / "index.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_reached_from_the_index(site, page):
    html = (site / "index.html").read_text(encoding="utf-8")
    if page != DOCS / "index.rst":
        assert f'href="{page.relative_to(DOCS).with_suffix(".html").as_posix()}"' in html


@pytest.mark.parametrize("blocks", parameters(PAGES))
def test_blocks_run(blocks, monkeypatch, tmp_path):
    run_blocks(blocks, monkeypatch, tmp_path)


# -- tables that are made from the code ------------------------------------------------------


def test_the_guarantees_compare_every_capability_of_every_transport(site, tables):
    shown = text_of(site / "explanation" / "guarantees.html")
    asked = set(tables.QUESTIONS) | tables.INTERNAL
    assert asked == set(Capabilities.__struct_fields__)
    for name in TRANSPORTS:
        record = capabilities(name)
        assert name in shown
        assert set(record.notes) <= set(tables.QUESTIONS)
        for note in record.notes.values():
            assert note in shown


@pytest.mark.parametrize("config", [*CONFIGS, eventbus.RetryPolicy], ids=lambda c: c.__name__)
def test_every_setting_is_explained_with_its_default(site, tables, config):
    shown = text_of(site / "reference" / "configuration.html")
    assert is_dataclass(config)
    for field, row in zip(fields(config), list(tables.setting_rows(config))[1:], strict=True):
        name, default, meaning = (cell.replace("``", "").replace("*", "") for cell in row)
        assert name == field.name
        assert len(meaning) > 10, f"{config.__name__}.{name} is not explained"
        assert f"{name} {default} {meaning}" in shown


def test_every_environment_variable_is_listed(site):
    shown = text_of(site / "reference" / "configuration.html")
    for variable in (name for name in vars(eventbus.env) if name.isupper()):
        if isinstance(getattr(eventbus.env, variable), str):
            assert variable in shown


@pytest.mark.parametrize("name", eventbus.__all__)
def test_every_public_name_is_in_the_reference(site, name):
    pages = [site / "reference" / f"{page}.html" for page in ("api", "errors", "configuration")]
    assert any(re.search(rf"\b{name}\b", text_of(page)) for page in pages)


def test_a_constant_that_is_gone_stops_the_build(tables):
    assert tables.constant("RetryPolicy.max_attempts") == eventbus.RetryPolicy().max_attempts
    assert tables.constant("patterns.MAX_BYTES") == 200
    for gone in ("RetryPolicy.attempts", "patterns.MAX_CHARACTERS", "nowhere.MAX"):
        with pytest.raises((AttributeError, ImportError, KeyError)):
            tables.constant(gone)


@pytest.fixture(scope="module")
def tables():
    """The Sphinx extension that makes the tables."""
    sys.path.insert(0, str(DOCS / "_extensions"))
    try:
        import generated_tables
    finally:
        sys.path.pop(0)
    return generated_tables


# -- commands --------------------------------------------------------------------------------


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a shell block as words; what `console` shows of their output is left out."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [command for line in lines for command in _split(line)]


def _split(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;"):
            commands.append([])
        elif not (ASSIGNMENT.match(word) and not commands[-1]):
            commands[-1].append(word)
    return [command[: _redirection(command)] for command in commands if command]


def _redirection(command: list[str]) -> int:
    return next((n for n, word in enumerate(command) if word[0] in "<>"), len(command))


SHELL = [
    pytest.param(page, block, id=f"{name_of(page)}:{block.line}")
    for page in PAGES
    for blocks in blocks_of(page, ("console", "shell"))
    for block in blocks
]


@pytest.mark.parametrize(("page", "block"), SHELL)
def test_commands_exist(page, block):
    files = {b.caption: b.code for blocks in blocks_of(page) for b in blocks if b.caption}
    for program, *arguments in commands_of(block):
        check = CHECKS.get(program)
        if check is not None:
            check(arguments, files)
        else:
            assert program in PROGRAMS, f"{program!r} is a program that no check knows"


def check_python(arguments, files):
    assert arguments[0] in files, f"the page has no block with the caption {arguments[0]}"


def check_gunicorn(arguments, files):
    from gunicorn.config import Config

    *options, _ = arguments
    Config().parser().parse_args(options)


def check_make(arguments, files):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {word for word in arguments if "=" not in word} <= set(targets)


def check_eventbus(arguments, files):
    """The command parses: its name, its options, and the number of its arguments."""
    import click

    from eventbus.cli.root import root

    group = root
    context = click.Context(root, info_name="eventbus")
    while isinstance(group, click.Group) and arguments:
        name, *arguments = arguments
        command = group.get_command(context, name)
        assert command is not None, f"eventbus has no command {name!r}"
        group, context = command, click.Context(command, parent=context, info_name=name)
    group.parse_args(context, list(arguments))


def check_pytest(arguments, files):
    assert {word for word in arguments if word.endswith(".py")} <= set(files)


CHECKS = {
    "pytest": check_pytest,
    "python": check_python,
    "gunicorn": check_gunicorn,
    "make": check_make,
    "eventbus": check_eventbus,
}


def test_reads_commands_as_a_shell_does(tmp_path):
    page = tmp_path / "page.rst"
    page.write_text(
        ".. code-block:: console\n\n"
        "   $ A=1 B=2 first 'one word' two | second > file   # why\n"
        "   output of it\n"
        "   $ third \\\n"
        "       --option && fourth\n"
    )
    ((block,),) = blocks_of(page, ("console",))
    assert commands_of(block) == [
        ["first", "one word", "two"], ["second"], ["third", "--option"], ["fourth"],
    ]

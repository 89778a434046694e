"""The Python in the documents runs, block by block, as a reader would paste it.

Each document is one namespace from its first block to its last; the comment
``.. new-namespace`` starts a new one. Blocks in other languages are only for reading.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import textwrap
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docutils.core
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.rst", ROOT / "CHANGELOG.rst", *sorted((ROOT / "docs").rglob("*.rst"))]

#: Seconds one block may take.
BLOCK_TIMEOUT = 30.0

DIRECTIVE = re.compile(r"(?P<indent> *)\.\. code(-block)?:: *python *$")
BOUNDARY = re.compile(r" *\.\. new-namespace *$")
OPTION = re.compile(r" *:[a-z-]+:")


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    code: str


def blocks_of(document: Path) -> list[list[Block]]:
    """The Python blocks of a document: one list per namespace."""
    namespaces: list[list[Block]] = [[]]
    lines = document.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if BOUNDARY.match(line):
            namespaces.append([])
        elif found := DIRECTIVE.match(line):
            while number < len(lines) and OPTION.match(lines[number]):
                number += 1
            start, depth = number, len(found["indent"])
            while number < len(lines) and _inside(lines[number], depth):
                number += 1
            code = textwrap.dedent("\n".join(lines[start:number]))
            namespaces[-1].append(Block(document, start, code))
    return [blocks for blocks in namespaces if blocks]


def _inside(line: str, depth: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip()) > depth


def _name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def _parameters(blocks: list[Block]) -> object:
    # The limit per block is kept below; this one only has to lie above their sum.
    limit = pytest.mark.timeout(BLOCK_TIMEOUT * len(blocks) + 30)
    return pytest.param(blocks, id=f"{_name(blocks[0].document)}:{blocks[0].line}", marks=limit)


@pytest.mark.parametrize(
    "blocks",
    [_parameters(blocks) for document in DOCUMENTS for blocks in blocks_of(document)],
)
def test_blocks_run(blocks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for variable in list(os.environ):
        if variable.startswith("EVENT_BUS_"):
            monkeypatch.delenv(variable)
    # A module, not a dict: annotations and handler names are looked up by module.
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    try:
        for block in blocks:
            _run(block, module)
    finally:
        _close_buses(module)


def _run(block: Block, module: types.ModuleType) -> None:
    # Empty lines in front make a traceback point at the line of the document.
    code = compile("\n" * block.line + block.code, str(block.document), "exec")
    with _limit(BLOCK_TIMEOUT, f"{_name(block.document)}, line {block.line}"):
        exec(code, module.__dict__)


def _close_buses(module: types.ModuleType) -> None:
    """A document need not close each bus; the reader's interpreter does it at its exit."""
    from eventbus import EventBus

    for value in list(vars(module).values()):
        if isinstance(value, EventBus):
            value.close()


@contextmanager
def _limit(seconds: float, where: str) -> Iterator[None]:
    """Interrupts the block, and gives the timer back to pytest-timeout, which uses the same."""

    def expire(*_: object) -> None:
        pytest.fail(f"the block at {where} ran longer than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, expire)
    remaining = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *remaining)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_renders_without_a_warning(document):
    """GitHub and the package index render with plain docutils: no Sphinx roles, no broken links."""
    warnings = io.StringIO()
    docutils.core.publish_doctree(
        document.read_text(encoding="utf-8"),
        source_path=str(document),
        settings_overrides={
            "report_level": 2,
            "halt_level": 5,
            "warning_stream": warnings,
            "syntax_highlight": "none",
            "file_insertion_enabled": False,
            "raw_enabled": False,
        },
    )

    assert warnings.getvalue() == ""


def test_finds_the_blocks_of_each_namespace(tmp_path):
    document = tmp_path / "sample.rst"
    document.write_text(
        textwrap.dedent(
            """\
            Sample
            ======

            .. code-block:: python
               :caption: app.py

               a = 1

               b = 2

            Between.

            - In a list:

              .. code:: python

                 c = 3

            .. code-block:: console

               $ rm -rf /

            .. new-namespace

            .. code-block:: python

               d = 4
            """
        )
    )

    first, second = blocks_of(document)

    assert [block.code.split() for block in first] == [
        ["a", "=", "1", "b", "=", "2"],
        ["c", "=", "3"],
    ]
    assert [block.code.strip() for block in second] == ["d = 4"]
    assert first[0].line == 5

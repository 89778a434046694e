"""Code blocks in documents: finds them, and runs the Python ones as a reader would paste them.

Each document is one namespace from its first block to its last; the comment
``.. new-namespace`` starts a new one. A Python block with a caption is that file: it is written to
the working directory, so that later blocks can import it.
"""

from __future__ import annotations

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

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Seconds one block may take.
BLOCK_TIMEOUT = 30.0

DIRECTIVE = re.compile(r"(?P<indent> *)\.\. code(-block)?:: *(?P<language>[a-z]+) *$")
BOUNDARY = re.compile(r" *\.\. new-namespace *$")
OPTION = re.compile(r" *:(?P<name>[a-z-]+): *(?P<value>.*)")


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    code: str
    caption: str | None = None


def blocks_of(document: Path, languages: tuple[str, ...] = ("python",)) -> list[list[Block]]:
    """The blocks of a document in these languages: one list per namespace."""
    namespaces: list[list[Block]] = [[]]
    lines = document.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        found = DIRECTIVE.match(line)
        if BOUNDARY.match(line):
            namespaces.append([])
        elif found and found["language"] in languages:
            namespaces[-1].append(_block(document, lines, number, len(found["indent"])))
    return [blocks for blocks in namespaces if blocks]


def _block(document: Path, lines: list[str], start: int, depth: int) -> Block:
    options = {}
    while start < len(lines) and (option := OPTION.match(lines[start])):
        options[option["name"]] = option["value"]
        start += 1
    end = start
    while end < len(lines) and _inside(lines[end], depth):
        end += 1
    code = textwrap.dedent("\n".join(lines[start:end]))
    return Block(document, start, code, options.get("caption"))


def _inside(line: str, depth: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip()) > depth


def name_of(document: Path) -> str:
    """How a document is called in test ids and messages."""
    return document.relative_to(ROOT).as_posix()


def parameters(documents: list[Path]) -> list[object]:
    """One pytest parameter per namespace of Python blocks."""
    return [_parameter(blocks) for document in documents for blocks in blocks_of(document)]


def _parameter(blocks: list[Block]) -> object:
    # The limit per block is kept below; this one only has to lie above their sum.
    limit = pytest.mark.timeout(BLOCK_TIMEOUT * len(blocks) + 30)
    return pytest.param(blocks, id=f"{name_of(blocks[0].document)}:{blocks[0].line}", marks=limit)


def run_blocks(blocks: list[Block], monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Run blocks one after the other in a module of their own, with `directory` as their home."""
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)
    for variable in list(os.environ):
        if variable.startswith("EVENT_BUS_"):
            monkeypatch.delenv(variable)
    before = set(sys.modules)
    # A module, not a dict: annotations and handler names are looked up by module.
    module = types.ModuleType("document")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    try:
        for block in blocks:
            _run(block, module, directory)
    finally:
        _close_buses([module, *_forget_files(before, directory)])


def _run(block: Block, module: types.ModuleType, directory: Path) -> None:
    if block.caption:
        file = directory / block.caption
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.code, encoding="utf-8")
    # Empty lines in front make a traceback point at the line of the document.
    code = compile("\n" * block.line + block.code, str(block.document), "exec")
    with _limit(BLOCK_TIMEOUT, f"{name_of(block.document)}, line {block.line}"):
        exec(code, module.__dict__)


def _forget_files(before: set[str], directory: Path) -> list[types.ModuleType]:
    """Take the modules that blocks imported from `directory` out of `sys.modules`."""
    added = [sys.modules[name] for name in sys.modules.keys() - before]
    ours = [m for m in added if str(getattr(m, "__file__", "")).startswith(str(directory))]
    for module in ours:
        del sys.modules[module.__name__]
    return ours


def _close_buses(modules: list[types.ModuleType]) -> None:
    """A document need not close each bus; the reader's interpreter does it at its exit."""
    from eventbus import EventBus

    for module in modules:
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

"""What commands print: tables on a terminal, JSON lines elsewhere; progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from . import text
from .tables import Column, print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def is_terminal() -> bool:
    """Whether people read what is printed."""
    return sys.stdout.isatty()


def write_json(value: object) -> None:
    """One line of JSON, in UTF-8 whatever the locale is."""
    click.echo(text.json(value).encode())


def write(shown: Text | str = "") -> None:
    """Text for people; of a `str` nothing is interpreted, lines are kept."""
    from rich.text import Text

    console().print(Text(text.lines(shown)) if isinstance(shown, str) else shown, soft_wrap=True)


def note(message: str) -> None:
    """A remark on stderr, so that stdout holds nothing but results."""
    click.echo(text.lines(message), err=True)


def result(name: str, count: int, sentence: str, as_json: bool) -> None:
    """What a command did: a sentence for people, one number by its name for programs."""
    if as_json or not is_terminal():
        write_json({name: count})
    else:
        write(sentence)


def rows(
    items: Iterable[Any], columns: Sequence[Column], *, as_json: bool, empty: str
) -> None:
    """A table, or one JSON object per row with all its fields.

    Args:
        items: the rows.
        columns: what the table shows of each.
        as_json: JSON lines even on a terminal.
        empty: said on stderr in place of a table without rows.
    """
    if as_json or not is_terminal():
        for item in items:
            write_json(item)
        return
    found = list(items)
    if found:
        print_table(found, columns, console())
    else:
        note(empty)


def console(*, stderr: bool = False) -> Console:
    """A console that adds nothing of its own to what it prints."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return Console(file=stream, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr where that is a terminal; yields what moves it on."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed(),
        console=console(stderr=True), transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def confirm(question: str, yes: bool) -> bool:
    """Ask before something is destroyed; where nobody can answer, insist on `--yes`."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("refusing to destroy without asking: pass --yes")
    try:
        agreed = click.confirm(text.line(question), err=True)
    except click.Abort:
        note("")  # Ends the line of the question.
        raise
    if not agreed:
        note("Nothing was changed.")
    return agreed

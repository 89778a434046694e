"""What commands print: tables on a terminal, JSON lines elsewhere; progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from . import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: its heading.
        cell: what it shows of a row.
        style: of its text, as rich names it; a function gets the cell.
        justify: `right` for numbers.
        whole: never shortened, because it is there to be copied.
    """

    title: str
    cell: Callable[[Any], object]
    style: str | Callable[[str], str] = ""
    justify: Literal["left", "right"] = "left"
    whole: bool = False


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
        _table(found, columns)
    else:
        note(empty)


def _table(items: Sequence[Any], columns: Sequence[Column]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # Whole columns take the width they need, the others share what is left.
        table.add_column(
            column.title, justify=column.justify, no_wrap=True,
            overflow="ignore" if column.whole else "ellipsis",
            min_width=max(len(str(column.cell(item))) for item in items) if column.whole else None,
        )
    for item in items:
        table.add_row(*(_cell(column, item) for column in columns))
    console().print(table)


def _cell(column: Column, item: Any) -> Text:
    from rich.text import Text

    shown = text.line(str(column.cell(item)))
    # A `Text`, because a `str` would be read as rich's markup.
    return Text(shown, column.style(shown) if callable(column.style) else column.style)


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
    if click.confirm(text.line(question), err=True):
        return True
    note("Nothing was changed.")
    return False

"""Tables for a terminal: plain columns, as wide as the terminal allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

#: Cells between two columns.
GAP = 2
#: Cells that a column whose text is cut or folded gets at least.
LEAST = 20


class Column(NamedTuple):
    """One column of a table.

    Attributes:
        title: its heading.
        cell: what it shows of a row.
        style: of its text, as rich names it; a function gets the cell.
        justify: `right` for numbers.
        room: `whole` takes what it needs; the one that is `cut` or `fold`ed has what is left.
        drop: columns with a number are left out, lowest first, where there is no room for all.
    """

    title: str
    cell: Callable[[Any], object]
    style: str | Callable[[str], str] = ""
    justify: Literal["left", "right"] = "left"
    room: Literal["whole", "cut", "fold"] = "whole"
    drop: int = 0


#: A column and its cells, from top to bottom.
Shown = tuple[Column, list["Text"]]


def print_table(items: Sequence[Any], columns: Sequence[Column], console: Console) -> None:
    """Print rows under headings. What is wider than the terminal goes on in the next line."""
    shown: list[Shown] = [(column, [_cell(column, item) for item in items]) for column in columns]
    for one in sorted((one for one in shown if one[0].drop), key=lambda one: one[0].drop):
        if _width(shown) > console.width:
            shown.remove(one)
    console.width = max(console.width, _width(shown))
    console.print(_table(shown, console.width - _width(shown)), crop=False)


def _table(shown: Sequence[Shown], room: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, cells in shown:
        least = _least((column, cells))
        # The only way to make rich cut a text is to say how wide its column may be at most.
        table.add_column(
            column.title, justify=column.justify, no_wrap=column.room != "fold",
            overflow="ellipsis" if column.room == "cut" else "fold",
            min_width=least, max_width=least + room if column.room == "cut" else None,
        )
    for row in zip(*(cells for _, cells in shown), strict=True):
        table.add_row(*row)
    return table


def _cell(column: Column, item: Any) -> Text:
    from rich.text import Text

    shown = text.line(str(column.cell(item)))
    # A `Text`, because a `str` would be read as rich's markup.
    return Text(shown, column.style(shown) if callable(column.style) else column.style)


def _width(shown: Sequence[Shown]) -> int:
    return sum(map(_least, shown)) + GAP * (len(shown) - 1)


def _least(one: Shown) -> int:
    column, cells = one
    longest = max((cell.cell_len for cell in cells), default=0)
    needed = longest if column.room == "whole" else min(longest, LEAST)
    return max(needed, len(column.title))

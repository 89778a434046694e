"""The README's table of transports, from their records: `python -m docs._extensions.readme_table`.

The README is read where no Sphinx runs, so the table stands in it as text; a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from eventbus.transports import TRANSPORTS, capabilities

README = Path(__file__).parents[2] / "README.rst"

#: Columns: heading, and the field of the record.
COLUMNS = (
    ("Durable", "durable"),
    ("Processes", "multi_process"),
    ("History", "history"),
    ("Your transaction", "transactional_publish"),
    ("Leases", "leases"),
    ("Success per handler", "per_handler_success"),
    ("Key order", "cross_process_order"),
)
_BEGIN, _END = "..\n    capabilities: made by docs/_extensions/readme_table.py\n\n", "\n..\n    end"


def table() -> str:
    """The table as reStructuredText."""
    rows = [("Transport", *(heading for heading, _ in COLUMNS))]
    for name in TRANSPORTS:
        record = capabilities(name)
        cells = ("yes" if getattr(record, field) else "no" for _, field in COLUMNS)
        rows.append((f"``{name}``", *cells))
    return _simple_table(rows)


def _simple_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([rule, lines[0].rstrip(), rule, *(x.rstrip() for x in lines[1:]), rule]) + "\n"


def written() -> str:
    """The table as it stands in the README."""
    return _pattern().search(README.read_text("utf-8"))[1]  # type: ignore[index]


def write() -> None:
    """Put the table of now into the README."""
    text = README.read_text("utf-8")
    README.write_text(_pattern().sub(lambda _: f"{_BEGIN}{table()}{_END}", text), "utf-8")


def _pattern() -> re.Pattern[str]:
    return re.compile(f"{re.escape(_BEGIN)}(.*?){re.escape(_END)}", re.DOTALL)


if __name__ == "__main__":
    write()

"""What is right and wrong with a server, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from ..base import Finding, Settings
from .link import Link
from .tables import Tables


def findings(link: Link, tables: Tables, settings: Settings) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    link.connect()
    yield Finding("ok", "version", f"PostgreSQL {link.raw.info.server_version // 10000}")

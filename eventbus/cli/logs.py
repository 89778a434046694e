"""The library's log lines, on stderr."""

from __future__ import annotations

import logging

from . import text


class _Harmless(logging.Formatter):
    """Log lines may quote events, and end up on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return text.lines(super().format(record))


def show_logs(level: str) -> None:
    """Log to stderr from this level on, unless the application has set up logging itself."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_Harmless("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])

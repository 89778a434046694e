"""One line per handled event, each written at once, so that a killed process loses none."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from eventbus import Event


class Entry(NamedTuple):
    """A handled event."""

    event_id: str
    latency: float


class Journal:
    """Appends to a file that several processes may share."""

    def __init__(self, path: str | Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def handled(self, event: Event) -> None:
        """Note the event and the seconds from publish until now."""
        line = json.dumps([event.id, time.time() - event.timestamp.timestamp()])
        os.write(self._file, (line + "\n").encode())


def read(path: str | Path) -> list[Entry]:
    """All entries so far; a last line without its end is still being written, and left out."""
    if not os.path.exists(path):
        return []
    *lines, _ = Path(path).read_bytes().split(b"\n")
    return [Entry(*json.loads(line)) for line in lines]

"""Measures when the machine itself stands still, beside what is tested and without it.

Successes are promised to be settled within milliseconds of a disk and a processor that work. When
a write of a single page takes long, or a thread that only sleeps wakes late, then nobody could
have settled anything either, and that time must not be counted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event, Thread

from . import journal as steps
from .journal import Journal, now

#: Seconds between two looks, and what one may take without being noted.
PAUSE, USUAL = 0.005, 0.02
PAGE = bytes(4096)


class Probe:
    """A thread that notes a `stall` whenever the disk or the processor was away."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._file = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._journal = journal
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="probe", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            begun = now()
            time.sleep(PAUSE)
            # A file that grows, as a log does: the file system has to write its own journal too.
            os.write(self._file, PAGE)
            os.fsync(self._file)
            took = now() - begun
            if took > USUAL:
                self._journal.note(steps.STALL, number=took)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._file)

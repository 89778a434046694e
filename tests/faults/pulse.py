"""Tells when a member could settle nothing, and whether that was so when it was killed.

What had been completed a moment before a kill may not have been settled yet. A process that gets no
processor settles nothing, however long that moment is: a machine that is busy may pause one process
and none of the others, which the probe beside the run does not notice. Nor does one settle more
whose broker, for the same reason, has not taken yet what it was sent before.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from . import journal as steps
from .journal import Journal, now

#: Seconds between two beats.
BEAT = 0.01
#: Seconds without one that are noted. Waiting for its turn among threads takes less: where the
#: machine has nothing else to do, a run with five kills has none to five of such stalls.
USUAL = 0.03
_TIME = struct.Struct("d")
#: The last beat, and when the settlement that is on its way was begun, or 0.
_BOTH = struct.Struct("dd")


class Pulse:
    """A thread that writes the time where it survives the process, again and again."""

    def __init__(self, path: Path | str, journal: Journal) -> None:
        with open(path, "w+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._journal = journal
        self._stop = Event()
        begun = now()
        _TIME.pack_into(self._page, 0, begun)
        self._thread = Thread(target=self._beat, args=(begun,), name="pulse", daemon=True)
        self._thread.start()

    def _beat(self, before: float) -> None:
        while not self._stop.wait(BEAT):
            if (took := now() - before) > USUAL:
                self._journal.note(steps.STALL, number=took)
            before = now()
            _TIME.pack_into(self._page, 0, before)

    @contextmanager
    def settling(self) -> Iterator[None]:
        """While the broker takes a settlement."""
        begun = now()
        _TIME.pack_into(self._page, _TIME.size, begun)
        try:
            yield
        finally:
            _TIME.pack_into(self._page, _TIME.size, 0.0)
            if (took := now() - begun) > USUAL:
                self._journal.note(steps.STALL, text="settling", number=took)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._page.close()


def place(journal: Path | str, who: str) -> Path:
    """Where a member writes it."""
    return Path(journal).parent / f"{who}.pulse"


def silence(path: Path) -> float:
    """Seconds since the last beat of a living process, or for which its broker has been taking a
    settlement, whichever is more; 0 if it is usual, or nothing has begun."""
    try:
        times = _BOTH.unpack(path.read_bytes()[: _BOTH.size])
    except (FileNotFoundError, struct.error):
        return 0.0
    took = max((now() - begun for begun in times if begun), default=0.0)
    return took if took > USUAL else 0.0

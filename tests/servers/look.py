"""Look at what runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def processes_that_mention(*folders: Path) -> list[str]:
    """The command lines of those that work in one of the folders, or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            place = os.readlink(process / "cwd")
        except OSError:  # ended just now, or somebody else's
            continue
        if any(str(folder) in words + place for folder in folders):
            found.append(words)
    return found

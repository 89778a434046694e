"""Ends a process of the demo together with the script that started it, however that one ended.

The script holds the other end of our standard input; the system closes it even after a SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread


def hold() -> None:
    """Send this process a SIGTERM as soon as its standard input ends; a terminal has no end."""
    if not sys.stdin.isatty():
        Thread(target=_wait, name="lifeline", daemon=True).start()


def _wait() -> None:
    # Not sys.stdin: a thread that waits inside of it would disturb the interpreter's exit.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

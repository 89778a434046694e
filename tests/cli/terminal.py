"""A terminal without a screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Runs one command whose stdin, stdout and stderr are a terminal.

    Args:
        arguments: of `python -m eventbus`.
        columns: how wide the terminal is.
    """

    def __init__(self, *arguments: str, columns: int = 120) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        root = str(Path(__file__).parents[2])
        environ = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eventbus", *arguments], stdin=slave, stdout=slave,
            stderr=slave, start_new_session=True, preexec_fn=self._own,
            env={**environ, "PYTHONPATH": root, "TERM": "xterm"},
        )
        os.close(slave)
        #: Everything shown so far, colours included.
        self.raw = ""

    @staticmethod
    def _own() -> None:
        # Makes it the controlling terminal, so that Ctrl-C becomes a signal.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    @property
    def text(self) -> str:
        """What is readable of it."""
        return STYLES.sub("", self.raw).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, condition: Callable[[str], object]) -> None:
        """Read until the text is as wanted; the test's timeout is the limit."""
        while not condition(self.text):
            if not self._read():
                raise AssertionError(f"it ended before that came: {self.text}")

    def press_ctrl_c(self) -> None:
        """As often as it takes: one that comes just before a read is seen with the next key."""
        while self._process.poll() is None:
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.5)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=20)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # How Linux says that the other side is closed.
            data = b""
        self.raw += data.decode("utf-8", "replace")
        return bool(data)

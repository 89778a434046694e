"""Signals: those that must not cut a clean end short, and who has sent one."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

#: Besides SIGINT: what service managers and closing terminals send, where the system has it.
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is inside as Ctrl-C does: `finally` blocks run."""
    before = {number: signal.signal(number, _end) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


class Received:
    """Remembers which signals came inside it, whoever else handles them."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._seen = b""

    def __enter__(self) -> Received:
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        with suppress(BlockingIOError):
            self._seen = self._read.recv(4096)
        self._read.close()
        self._write.close()

    def __contains__(self, number: int) -> bool:
        return number in self._seen

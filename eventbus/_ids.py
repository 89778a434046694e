"""New event ids: UUIDv7 text, about a microsecond each."""

from __future__ import annotations

import os
import time

#: New ids take their random part from a pool of so many, drawn with one system call.
_POOL_SIZE = 128
_tails: list[str] = []
_latest = (0, "")


def new_id() -> str:
    """Return a UUIDv7 as text: 48 bits of milliseconds, 74 random bits; any thread may call it."""
    global _latest
    now, (milliseconds, text) = time.time_ns() // 1_000_000, _latest
    if now != milliseconds:
        text = f"{now >> 16:08x}-{now & 0xFFFF:04x}-7"
        _latest = now, text
    try:
        return text + _tails.pop()
    except IndexError:
        fresh = _random_tails()
        _tails.extend(fresh[1:])
        return text + fresh[0]


def _random_tails() -> list[str]:
    digits = os.urandom(10 * _POOL_SIZE).hex()
    return [_tail(digits[at : at + 20]) for at in range(0, len(digits), 20)]


def _tail(digits: str) -> str:
    variant = "89ab"[int(digits[3], 16) & 3]
    return f"{digits[:3]}-{variant}{digits[4:7]}-{digits[7:19]}"


if hasattr(os, "register_at_fork"):
    # A child that took from what its parent left would repeat its parent's ids.
    os.register_at_fork(after_in_child=_tails.clear)

"""Who holds a lease, and whether that process still lives.

A process is known by its pid *and* start time, since pids are used again, on a host known by its
boot and its pid namespace: seen from another container a living pid looks dead.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from functools import lru_cache
from uuid import uuid4


def lease_clock() -> float:
    """Seconds on a clock that all processes of this host share and nobody can set."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Owner:
    """This process as an owner of leases."""

    def __init__(self) -> None:
        self.id = uuid4().hex

    def register(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO eventbus_owner VALUES (?, ?, ?, ?)",
            (self.id, host(), os.getpid(), start_time(os.getpid()) or ""),
        )


def dead_owners(connection: sqlite3.Connection, me: str) -> list[str]:
    """Owners on this host whose process is gone."""
    rows = connection.execute(
        "SELECT id, host, pid, started FROM eventbus_owner WHERE id != ?", (me,)
    ).fetchall()
    return [id for id, place, pid, started in rows if _is_dead(place, pid, started)]


def _is_dead(place: str, pid: int, started: str) -> bool:
    if not started or not host():
        return False  # Nobody can tell; the lease's end decides.
    boot, _, namespace = host().partition("/")
    if place != host():
        # After a reboot of the same machine all its processes are gone.
        return place.endswith("/" + namespace) and not place.startswith(boot + "/")
    return start_time(pid) != started


@lru_cache(maxsize=1)
def host() -> str:
    """Boot and pid namespace of this host, or nothing where the platform does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return f"{boot.read().strip()}/{os.readlink('/proc/self/ns/pid')}-{platform.node()}"
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """When the process began, in the kernel's ticks since boot; `None` if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            # The command's name, in brackets, may hold blanks; field 22 counts behind it.
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]

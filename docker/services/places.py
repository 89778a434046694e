"""Where servers keep their files, and on which ports they listen."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
#: Servers listen on this address only.
HOST = "127.0.0.1"
#: Below the ports that systems hand out to clients, so that a stopped server gets its own back.
PORTS = range(20_000, 30_000)

_taken: set[int] = set()


def services_folder() -> Path:
    """Where the servers of `make services` live: EVENTBUS_SERVICES_DIR, else `.services`."""
    return Path(os.environ.get("EVENTBUS_SERVICES_DIR") or CHECKOUT / ".services").resolve()


def cache_folder() -> Path:
    """Where downloads stay: EVENTBUS_SERVICES_CACHE, else a folder in the user's cache."""
    if own := os.environ.get("EVENTBUS_SERVICES_CACHE"):
        return Path(own).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "eventbus-services"


def free_port() -> int:
    """A port nobody listens on; never the same twice in one process."""
    while True:
        port = random.choice(PORTS)
        if port not in _taken and _free(port):
            _taken.add(port)
            return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of a server that has just ended do not make its port a used one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

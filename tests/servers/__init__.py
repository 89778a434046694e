"""The servers that tests run against.

`provide("redis")` is the address of the one that all tests share; `Redis(tmp_path)` in a `with`
block is one of the test's own, to be killed, paused and wiped.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `make services` runs the same package, without the test-suite.
sys.path.insert(0, str(Path(__file__).parents[2] / "docker"))

from services import (
    Certificates,
    Kafka,
    Nats,
    Postgres,
    RabbitMQ,
    Redis,
    Server,
    ServerError,
    make_certificates,
)
from services.shared import KINDS, NAMES, address, handle, own, provide

__all__ = [
    "KINDS",
    "NAMES",
    "Certificates",
    "Kafka",
    "Nats",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "Server",
    "ServerError",
    "address",
    "handle",
    "make_certificates",
    "own",
    "provide",
]

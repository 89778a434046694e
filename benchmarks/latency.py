"""From publish in one process to the handler in another, at 200 events per second."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from eventbus import EventBus

from .measure import Figure, scratch

RATE = 200
SECONDS = 8
PUBLISHER = f"""
import sys, time
from eventbus import EventBus
with EventBus(sys.argv[1], group="bench", environ={{}}) as bus:
    begun = time.monotonic()
    for n in range({RATE * SECONDS}):
        time.sleep(max(0.0, begun + n / {RATE} - time.monotonic()))
        bus.publish("tick", time.monotonic())
    print(time.monotonic() - begun)
"""


def waits(url: str) -> list[float]:
    """Seconds from each publish to its handler."""
    found: list[float] = []
    with EventBus(url, group="bench", environ={}) as bus:
        bus.subscribe("tick", lambda e: found.append(time.monotonic() - e.payload), name="t")
        publisher = subprocess.run(
            [sys.executable, "-c", PUBLISHER, url], check=True, text=True,
            stdout=subprocess.PIPE,
        )
        bus.join()
    # Otherwise the figures would be of another load, or without the worst ones.
    assert float(publisher.stdout) < 1.05 * SECONDS, f"took {publisher.stdout.strip()} s"
    assert len(found) == RATE * SECONDS, f"{len(found)} handled"
    return found


def measure() -> list[Figure]:
    with scratch() as path:
        found = waits(f"sqlite:///{path}")
    cuts = statistics.quantiles([1000 * wait for wait in found], n=100)
    name = "sqlite: publish to handled, two processes, 200/s"
    return [
        Figure(f"{name}, p50 ms", f"{cuts[49]:.1f} ms", "-", cuts[49], "<= 15"),
        Figure(f"{name}, p99 ms", f"{cuts[98]:.1f} ms", "-", cuts[98], "<= 50"),
    ]

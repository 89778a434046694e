"""Processor time when idle, and memory while a large backlog is worked off."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from eventbus import EventBus

from .measure import Figure, scratch

BACKLOG = 1_000_000
IDLE_SECONDS = 10
CONSUMER = """
import sys
from eventbus import EventBus
def rss():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(sys.argv[2]))
    return int(line.split()[1]) / 1024
bus = EventBus(sys.argv[1], group="bench", environ={})
bus.subscribe("warm", lambda event: None, name="w")
bus.publish("warm")
bus.join()
before = rss()
sys.argv[2] = "VmHWM:"
bus.subscribe("load", lambda event: None, name="h")
bus.join()
print(rss() - before, bus.stats().handled)
bus.close()
"""


def _idle() -> Figure:
    with scratch() as path, EventBus(f"sqlite:///{path}", group="b", environ={}) as bus:
        for n in range(10):
            bus.subscribe(f"quiet.t{n}", lambda event: None, name="h")
        bus.join()
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(IDLE_SECONDS)
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    percent = 100 * used / IDLE_SECONDS
    name = "sqlite: idle with 10 subscriptions, % of a core"
    return Figure(name, f"{percent:.2f} %", "-", percent, "<= 2")


def _backlog() -> Figure:
    with scratch() as path:
        url = f"sqlite:///{path}"
        with EventBus(url, group="bench", environ={}) as bus:
            bus.subscribe("load", lambda event: None, name="h").cancel()
            for start in range(0, BACKLOG, 10_000):
                bus.publish_many([("load", {"n": n}) for n in range(start, start + 10_000)])
        result = subprocess.run(
            [sys.executable, "-c", CONSUMER, url, "VmRSS:"], check=True, text=True,
            stdout=subprocess.PIPE,
        )
    rise, handled = map(float, result.stdout.split())
    assert handled == BACKLOG + 1, f"{handled} handled"
    name = "sqlite: RSS rise over a backlog of 1,000,000, MB"
    return Figure(name, f"{rise:.0f} MB", "-", rise, "<= 60")


def measure() -> list[Figure]:
    return [_idle(), _backlog()]

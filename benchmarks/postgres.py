"""PostgreSQL against the raw client: same server, same durability, same bytes."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from eventbus import Event, EventBus

from . import postgres_floor as floor
from .bus_side import publish_singly
from .latency import waits
from .measure import Figure, payload, rate, rated

sys.path.insert(0, str(Path(__file__).parents[1] / "docker"))

COUNT = 30_000
SINGLES = 1_500
THREADS = 8
SMALL, LARGE = 10_000, 1_000_000
#: Seconds for which idleness is measured.
IDLE = 20.0


class Server:
    """The shared server, with empty tables for each measurement."""

    def __init__(self) -> None:
        from services.shared import provide

        self.url = provide("postgres") + "?application_name=bench"

    def connect(self) -> floor.Connection:
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=1)

    def empty(self) -> None:
        with self.connect() as connection:
            connection.execute(f"{floor.TABLES}; DROP SCHEMA IF EXISTS eventbus CASCADE")

    @contextmanager
    def bus(self) -> Iterator[EventBus]:
        with EventBus(self.url, group="bench", environ={}, publish_timeout=30.0) as bus:
            bus.topics()
            yield bus

    def processor_time(self) -> float:
        """Seconds that all its processes have used so far."""
        from services.shared import handle

        process = handle("postgres").process  # type: ignore[union-attr]
        assert process is not None, "another machine's server cannot be measured"
        return sum(_processor_time(one.pid) for one in process.tree())


def _processor_time(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # It has just ended.
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ignore(event: Event) -> None:
    return


# -- publishing ----------------------------------------------------------------------------------


def _fill_raw(server: Server, count: int = COUNT) -> float:
    server.empty()
    with server.connect() as connection:
        begun = time.perf_counter()
        floor.fill(connection, count)
        return count / (time.perf_counter() - begun)


def _fill(bus: EventBus, count: int = COUNT) -> float:
    bus.subscribe(floor.TOPIC, _ignore, name="ignore").cancel()
    # The raw client has its connection already, too.
    bus.publish("warm.up")
    begun = time.perf_counter()
    for start in range(0, count, floor.CHUNK):
        chunk = range(start, start + floor.CHUNK)
        bus.publish_many([(floor.TOPIC, payload(number)) for number in chunk])
    return count / (time.perf_counter() - begun)


def _publish_many(server: Server) -> Figure:
    def ours() -> float:
        server.empty()
        with server.bus() as bus:
            return _fill(bus)

    name = "postgres: publish_many / raw inserts of 1,000"
    return rated(name, ours, lambda: _fill_raw(server), 0.7)


def _single_raw(server: Server) -> float:
    server.empty()
    with server.connect() as connection:
        begun = time.perf_counter()
        for number in range(SINGLES):
            connection.execute(floor.INSERT, floor.row(number))
        return SINGLES / (time.perf_counter() - begun)


def _single(server: Server, threads: int = 1) -> float:
    server.empty()
    with server.bus() as bus:
        bus.subscribe(floor.TOPIC, _ignore, name="ignore").cancel()
        return publish_singly(bus, floor.TOPIC, SINGLES, threads)


def _single_publish(server: Server) -> Figure:
    name = "postgres: one publish / raw insert + commit"
    return rated(name, lambda: _single(server), lambda: _single_raw(server), 0.8)


def _many_threads(server: Server) -> Figure:
    name = "postgres: 8 publishing threads / one"
    return rated(name, lambda: _single(server, THREADS), lambda: _single(server), 3.0)


# -- consuming -----------------------------------------------------------------------------------


def _consume_raw(server: Server) -> float:
    _fill_raw(server)
    with server.connect() as connection:
        begun = time.perf_counter()
        floor.consume(connection, _ignore)
        return COUNT / (time.perf_counter() - begun)


def _consume(server: Server, count: int = COUNT) -> float:
    server.empty()
    with server.bus() as bus:
        _fill(bus, count)
        begun = time.perf_counter()
        bus.subscribe(floor.TOPIC, _ignore, name="ignore")
        bus.join()
        return count / (time.perf_counter() - begun)


def _consuming(server: Server) -> Figure:
    name = "postgres: consume through the pool / raw claim + delete"
    return rated(name, lambda: _consume(server), lambda: _consume_raw(server), 0.5)


def _backlog(server: Server) -> Figure:
    before = [_consume(server, SMALL) for _ in range(3)]
    large = _consume(server, LARGE)
    small = statistics.median(before + [_consume(server, SMALL) for _ in range(2)])
    name = "postgres: cost per event, backlog of 10^6 / of 10^4"
    return Figure(name, rate(large), rate(small), small / large, "<= 1.3")


# -- waiting -------------------------------------------------------------------------------------


def _latency(server: Server) -> Figure:
    server.empty()
    cuts = statistics.quantiles([1000 * wait for wait in waits(server.url)], n=100)
    name = "postgres: publish to handled, two processes, 200/s, p50 ms"
    return Figure(name, f"{cuts[49]:.1f} ms", f"p99 {cuts[98]:.1f}", cuts[49], "<= 5")


def _idle(server: Server) -> Figure:
    server.empty()
    with server.bus() as bus:
        for n in range(10):
            bus.subscribe(f"quiet.t{n}", _ignore, name="h")
        bus.join()
        # What came before has its aftermath: wakers and cleaners.
        time.sleep(5.0)
        began, theirs, ours = time.perf_counter(), server.processor_time(), time.process_time()
        time.sleep(IDLE)
        theirs, ours = server.processor_time() - theirs, time.process_time() - ours
        seconds = time.perf_counter() - began
    percent = 100 * (ours + theirs) / seconds
    name = "postgres: idle with 10 subscriptions, both sides, % of a core"
    parts = f"{100 * ours / seconds:.2f}+{100 * theirs / seconds:.2f}"
    return Figure(name, f"{percent:.2f} %", parts, percent, "<= 1.5")


MEASURES = (
    _publish_many, _consuming, _single_publish, _many_threads, _latency, _idle, _backlog
)


def measure() -> Iterator[Figure]:
    server = Server()
    for figure in MEASURES:
        yield figure(server)
    server.empty()

"""All members are replaced, one after the other, as a deployment does it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import pytest

from eventbus import Event
from eventbus.transports import capabilities
from tests.servers import Server

from . import journal as steps
from .brokers import Place
from .checker.rules import Rules
from .journal import read
from .kinds import SERVERS, Kind
from .supervisor import Supervisor

MEMBERS, ROUNDS = 4, 2
#: Seconds for which a member has served before the next one is replaced.
SERVED = 1.5
#: Seconds between two batches of so many events.
PAUSE, BATCH, KEYS = 0.05, 10, 40
#: Seconds that an event may wait, whoever comes and goes.
LONGEST = 3.0

#: Where a broker hands out whole shares of a group.
SHARING = [p for p in SERVERS if capabilities(str(p.id)).consumer_per_subscription]


@pytest.fixture(params=SHARING, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@contextmanager
def load(run: Supervisor) -> Iterator[None]:
    """Events without end, from a thread."""
    over = Flag()
    numbers = count()

    def publish() -> None:
        while not over.wait(PAUSE):
            first = next(numbers)
            run.publish(*(
                Event(f"job.t{n % 3}", {"seconds": 0.005, "seq": first + 1}, key=f"k{n}")
                for n in range(first % 4, KEYS, 4)
            ))

    thread = Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_rolling_restart_repeats_nothing_and_stops_nothing(
    server: Server, tmp_path: Path
) -> None:
    with Supervisor(Place(server.url, server), tmp_path, Rules(leases=False)) as run:
        crew = [run.live_member() for _ in range(MEMBERS)]
        with load(run):
            time.sleep(SERVED)
            for _ in range(ROUNDS):
                for place, member in enumerate(crew):
                    run.stop(member)
                    crew[place] = run.live_member()
                    time.sleep(SERVED)
        assert run.drain()
        report = run.finish()
        waits = _waits(run)

    print(f"{report}; {len(waits)} events waited for {max(waits):.2f} s at most")
    assert not report.violations, str(report)
    assert (report.lost, report.duplicates) == (0, 0)
    assert max(waits) < LONGEST


def _waits(run: Supervisor) -> list[float]:
    """Seconds from the confirmation of each event until a handler began with it."""
    begun: dict[str, float] = {}
    confirmed: dict[str, float] = {}
    for line in read(run.path):
        if line.step == steps.START:
            begun.setdefault(line.id, line.at)
        elif line.step == steps.CONFIRMED:
            confirmed[line.id] = line.at
    return [begun[id] - at for id, at in confirmed.items()]

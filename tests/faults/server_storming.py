"""A long run in which members and their server are hurt in turns, reproducible by its seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from .brokers import Broker, Place
from .checker.report import Report
from .checker.rules import Rules
from .supervisor import Supervisor

#: Seconds of lease: longer than the longest outage, in which the leases of the living run on.
LEASE = 75.0
OPTIONS = ("--lease", LEASE)
#: Nobody can take over what a killed member held before its lease has ended *and* the server is
#: there: both may follow each other.
AWAY = 80.0
RULES = Rules(take_over=LEASE + AWAY + 10.0, recovery=35.0, drain=3 * LEASE, detection=30.0)
#: Seconds from one fault to the next.
PAUSE = (0.5, 3.0)
MEMBERS, PUBLISHERS = 3, 2
#: Events of a publisher between two pauses (see `publisher`).
BATCH = 50
#: Seconds that a handler takes: so long that a kill mostly meets some that run.
WORK = 0.05


class Faults(NamedTuple):
    """How often what happens in one run; times in seconds."""

    member_kills: int = 30
    server_kills: int = 10
    restarts: int = 10
    pause: float = 20.0
    outage: float = 60.0

    @property
    def seconds(self) -> float:
        """For which to publish: longer than all of it takes, so that there is always work."""
        count = self.member_kills + self.server_kills + self.restarts + 2
        return 1.2 * (count * PAUSE[1] + self.pause + self.outage)

    def shuffled(self, chance: Random) -> list[str]:
        names = (
            ["member"] * self.member_kills + ["kill"] * self.server_kills
            + ["restart"] * self.restarts + ["pause", "outage"]
        )
        chance.shuffle(names)
        return names


def server_storm(
    place: Place, folder: Path, *, seed: int, events: int = 12_000, faults: Faults | None = None,
    rules: Rules = RULES,
) -> Report:
    """Publish and handle while one fault follows the other."""
    faults = faults or Faults()
    broker = place.broker
    assert broker is not None, "this storm is about a server"
    chance = Random(seed)
    hurts = _hurts(broker, faults)
    batches = events / PUBLISHERS / BATCH
    with Supervisor(place, folder, rules) as run:
        crew = [run.live_member(*OPTIONS) for _ in range(MEMBERS)]
        for _ in range(PUBLISHERS):
            run.publisher(
                "--count", events // PUBLISHERS, "--seed", chance.randrange(1 << 30),
                "--seconds", WORK, "--pause", faults.seconds / batches, "--unmixed",
            )
        for name in faults.shuffled(chance):
            time.sleep(chance.uniform(*PAUSE))
            if name == "member":
                place_of = chance.randrange(MEMBERS)
                run.kill(crew[place_of])
                crew[place_of] = run.member(*OPTIONS)
            else:
                run.outage(name, *hurts[name])
        run.wait("all is published", lambda: not any(p.is_running() for p in run.publishers), 600)
        run.drain(quiet=2 * LEASE, budget=4 * LEASE)
        return run.finish()


def _hurts(
    broker: Broker, faults: Faults
) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """What begins a fault of the server, and what ends it."""

    def after(seconds: float, end: Callable[[], None]) -> Callable[[], None]:
        def wait_and_end() -> None:
            time.sleep(seconds)
            end()

        return wait_and_end

    return {
        "kill": (broker.kill, broker.start),
        "restart": (broker.stop, broker.start),
        "pause": (broker.pause, after(faults.pause, broker.resume)),
        "outage": (broker.stop, after(faults.outage, broker.start)),
    }

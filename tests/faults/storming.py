"""A run in which members are killed at random points, reproducible by its seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from .brokers import Place
from .checker.report import Report
from .checker.rules import Rules
from .supervisor import Process, Supervisor

#: One of so many kills hits a member that is still starting.
EARLY = 6
#: Seconds between two batches of a publisher: it publishes all through the run, and a little faster
#: than three members can handle.
PAUSE = 0.05
Hurt = Callable[[Supervisor, Process], None]


def kill(supervisor: Supervisor, victim: Process) -> None:
    supervisor.kill(victim)


def restart(supervisor: Supervisor, victim: Process) -> None:
    """Graceful; whoever is asked to stop has work in hand."""
    supervisor.stop(victim)


def storm(
    place: Place, folder: Path, *, seed: int, kills: int, events: int, members: int = 3,
    hurt: Hurt = kill, options: tuple[object, ...] = (), rules: Rules | None = None,
    seconds: float = 0.01, failing: float = 0.01, rejected: float = 0.005,
    publishing: tuple[object, ...] = (),
) -> Report:
    """Publish `events` from two processes while members are hurt `kills` times.

    The moments are spread over the whole run: each waits for a number of handled events, drawn
    by the seed, and then for a few milliseconds, so that every phase of a member is met.
    """
    chance = Random(seed)
    marks = sorted(chance.randrange(events // 50, events * 19 // 20) for _ in range(kills))
    with Supervisor(place, folder, rules) as supervisor:
        crew = [supervisor.live_member(*options) for _ in range(members)]
        for share in (events // 2, events - events // 2):
            supervisor.publisher(
                "--count", share, "--seed", chance.randrange(1 << 30),
                "--pause", PAUSE, "--seconds", seconds, "--failing", failing,
                "--rejected", rejected, *publishing,
            )
        for mark in marks:
            _hurt_one(supervisor, crew, mark, chance, hurt, options)
        supervisor.wait_for_publishers()
        supervisor.drain()
        return supervisor.finish()


def _hurt_one(
    supervisor: Supervisor, crew: list[Process], mark: int, chance: Random, hurt: Hurt,
    options: tuple[object, ...],
) -> None:
    progress = supervisor.progress
    supervisor.wait(f"{mark} are handled", lambda: len(progress.settled) >= mark)
    early = hurt is kill and chance.randrange(EARLY) == 0
    candidates = list(crew)
    if not early:
        supervisor.wait("one is live", lambda: any(m.who in progress.live for m in crew))
        candidates = [member for member in crew if member.who in progress.live]
    victim = chance.choice(candidates)
    time.sleep(chance.uniform(0.0, 0.02))
    hurt(supervisor, victim)
    crew[crew.index(victim)] = supervisor.member(*options)

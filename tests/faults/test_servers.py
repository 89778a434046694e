"""Real servers are killed, restarted, stopped in their tracks and wiped, under load."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventbus import Event
from tests.servers import Server

from .brokers import Place
from .checker.rules import Rules
from .journal import read
from .kinds import Kind
from .storming import storm
from .supervisor import Supervisor

#: Seconds of lease where members are killed: a server does not see a death, so it is waited for.
SHORT = 5.0
#: Where the server is away: longer than that, or the leases of the living lapse, too.
LONG = 15.0
RULES = Rules(take_over=SHORT + 6.0)
PAUSE = 5.0
#: A stream per type keeps the order of a key within a type.
PUBLISHING = ("--unmixed",)


@pytest.fixture
def place(server: Server) -> Place:
    return Place(server.url, server)


@pytest.fixture
def rules(kind: Kind) -> Rules:
    return replace(kind.fit(RULES), recovery=kind.recovery)


@pytest.fixture
def seed() -> int:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return seed


@contextmanager
def load(run: Supervisor, events: int, seed: int) -> Iterator[None]:
    """Three members and two publishers, around faults; in the end everything is settled."""
    for _ in range(3):
        run.live_member("--lease", LONG)
    for share in range(2):
        run.publisher(
            "--count", events // 2, "--seed", seed + share, "--seconds", 0.01, *PUBLISHING
        )
    yield
    run.wait_for_publishers()
    assert run.drain()


def settled(run: Supervisor, number: int) -> None:
    run.wait(f"{number} are handled", lambda: len(run.progress.settled) >= number)


def outage(
    run: Supervisor, name: str, begin: Callable[[], object], end: Callable[[], object]
) -> None:
    """Members may hold all that there is, and be through with it before the outage is over."""
    run.outage(name, begin, end)
    run.publish(Event("job.t0", {"after": name}))


@pytest.mark.slow
def test_five_killed_members_lose_nothing(
    place: Place, rules: Rules, tmp_path: Path, seed: int
) -> None:
    report = storm(
        place, tmp_path, seed=seed, kills=5, events=4_000, options=("--lease", SHORT),
        rules=rules, publishing=PUBLISHING,
    )

    assert not report.violations, str(report)
    assert (report.kills, report.events, report.lost) == (5, 4_000, 0)


@pytest.mark.slow
def test_after_a_wipe_everything_confirmed_arrives(
    place: Place, kind: Kind, server: Server, rules: Rules, tmp_path: Path, seed: int
) -> None:
    """What was wiped is lost, and said to be; the members serve on by themselves."""
    with Supervisor(place, tmp_path, rules) as run:
        for _ in range(3):
            run.live_member("--lease", LONG)
        publisher = run.publisher("--count", 3_000, "--seed", seed, "--seconds", 0.01, "--unmixed")
        settled(run, 500)
        run.outage("wipe", lambda: kind.wipe(server), lambda: None)
        run.wait_for_publishers()
        assert not publisher.is_running()
        run.wait("the loss is logged", lambda: _losses(run) > 0, timeout=10.0)
        events = [Event("job.t1", {"after": n}) for n in range(500)]
        began = time.monotonic()
        run.publish(*events)
        run.wait("they arrive", lambda: {e.id for e in events} <= _handled(run), timeout=10.0)

        print(f"500 events in {time.monotonic() - began:.1f} s")
        assert _losses(run) == 1, "the first member to come back makes it again, once"


def _losses(run: Supervisor) -> int:
    """How often a member has logged that its subscription had vanished."""
    return sum("had vanished from the broker" in (line.text or "") for line in read(run.path))


def _handled(run: Supervisor) -> set[str]:
    return {work.id for work in run.progress.settled}


@pytest.mark.slow
def test_a_killed_a_restarted_and_a_paused_server_lose_nothing(
    place: Place, server: Server, rules: Rules, tmp_path: Path, seed: int
) -> None:
    with Supervisor(place, tmp_path, rules) as run:
        with load(run, 6_000, seed):
            settled(run, 500)
            outage(run, "kill", server.kill, server.start)
            settled(run, 2_000)
            outage(run, "restart", server.stop, server.start)
            settled(run, 3_500)
            outage(run, "pause", server.pause, lambda: (time.sleep(PAUSE), server.resume()))
        report = run.finish()

    assert not report.violations, str(report)
    assert (report.lost, report.invented) == (0, 0)

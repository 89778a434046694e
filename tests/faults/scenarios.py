"""Short runs in which something that could go wrong has every chance to.

Each takes a fresh supervisor and ends drained. None of them knows whether it is sabotaged.
"""

from __future__ import annotations

from eventbus import Event

from . import journal as steps
from .journal import now
from .supervisor import Process, Supervisor

#: Seconds without any step after which a missing event is lost, in runs as short as these.
QUIET = 0.7
#: Seconds in which what is left behind must be handled, and for which a drain goes on.
DRAIN, BUDGET = 3.0, 3.2
#: Seconds: a lease short enough to wait for, and when a lapsed one is taken over at the latest.
LEASE, LAPSED = 1.5, 1.0
#: Handlers that a member runs at the same time.
WORKERS = 4


def killed_in_the_middle(run: Supervisor, *options: object) -> None:
    """A member is killed while one of two handlers runs, everything else being settled."""
    handlers = ("--handlers", "quick", "slow", *options)
    member = run.live_member(*handlers)
    run.publish(Event("job.a", {"hold": [str(run.folder / "hold")], "only": "slow"}))
    run.wait("one handler is left", lambda: len(run.progress.settled) == 1)
    run.wait("and is held", (run.folder / "hold").exists)
    run.publish(Event("job.a", {}))
    run.wait("the rest is settled", lambda: len(run.progress.settled) == 3 and run.backlog() <= 1)
    run.kill(member)
    run.live_member(*handlers)
    _drain(run)


def killed_with_others_in_hand(run: Supervisor) -> None:
    """A member is killed while it holds events that no handler has seen."""
    member = run.live_member()
    run.publish(*(Event("job.a", {"hold": [str(run.folder / f"h{n}")]}) for n in range(WORKERS)))
    run.publish(*(Event("job.b", {}) for _ in range(20)))
    _kill_when_full(run, member, "h{}")
    run.live_member()
    _drain(run)


def killed_again_and_again(run: Supervisor) -> None:
    """Members are killed with the same events in hand until these run alone; some then fail."""
    hold = [[str(run.folder / f"h{n}-{death}") for death in range(2)] for n in range(WORKERS)]
    first = run.live_member()
    run.publish(*(
        Event("job.a", {"hold": hold[n], "failures": 1, "seq": 1}, key=f"k{n}")
        for n in range(WORKERS)
    ))
    run.publish(*(Event("job.b", {"seq": 2}, key=f"k{n}") for n in range(WORKERS)))
    _kill_when_full(run, first, "h{}-0")
    _kill_when_full(run, run.live_member(), "h{}-1")
    run.live_member()
    _drain(run)


def _kill_when_full(run: Supervisor, member: Process, held: str) -> None:
    """As soon as all workers are held, and further events wait in the member's hands."""
    files = [run.folder / held.format(n) for n in range(WORKERS)]
    run.wait("its workers are held", lambda: all(file.exists() for file in files))
    run.wait("some wait in its hands", lambda: run.progress.held[member.who] > WORKERS)
    run.kill(member)


def killed_after_many(run: Supervisor) -> None:
    """A member is killed in the middle of quick work."""
    member = run.live_member()
    run.publish(*(Event("job.a", {"seconds": 0.004}) for _ in range(600)))
    run.wait("a third is handled", lambda: len(run.progress.settled) >= 200)
    run.kill(member)
    run.live_member()
    _drain(run)


def killed_after_a_rejection(run: Supervisor) -> None:
    """A member is killed as soon as a rejected event has left the backlog."""
    member = run.live_member()
    run.publish(Event("job.a", {"reject": True}))
    run.wait(
        "it is rejected", lambda: run.progress.failed[member.who] == 1 and not run.backlog()
    )
    run.kill(member)
    run.live_member()
    _drain(run)


def killed_with_a_dead_letter(run: Supervisor) -> None:
    """A member is killed as soon as there is a dead letter of its event."""
    member = run.live_member()
    run.publish(Event("job.a", {"reject": True}))
    run.wait("it is buried", lambda: bool(run.bus.dead_letters.list("*")))
    run.kill(member)
    run.live_member()
    _drain(run)


def failing(run: Supervisor) -> None:
    """Some first attempts fail."""
    run.live_member()
    run.publish(*(Event("job.a", {"failures": n % 2}) for n in range(10)))
    _drain(run)


def one_key(run: Supervisor) -> None:
    """All events have one key."""
    run.live_member()
    run.publish(
        *(Event("job.a", {"seconds": 0.02, "seq": n}, key="k") for n in range(1, 13))
    )
    _drain(run)


def longer_than_the_lease(run: Supervisor) -> None:
    """A handler takes longer than its lease, and a peer looks for lapsed ones, while it is idle."""
    run.wait_until_live(*(run.member("--lease", LEASE) for _ in range(2)))
    run.publish(Event("job.a", {"until": str(run.folder / "go")}))
    enough = now() + LEASE + LAPSED
    run.wait(
        "the lease would have lapsed",
        lambda: run.progress.counts[steps.START] > 1 or now() > enough,
    )
    (run.folder / "go").touch()
    _drain(run)


def asleep_past_the_lease(run: Supervisor) -> None:
    """A member is stopped in the middle of a handler; it wakes when a peer has buried the event."""
    sleeper = run.live_member("--lease", 1.0)
    run.publish(Event("job.a", {"until": str(run.folder / "go"), "reject": True}))
    run.wait("it runs", lambda: run.progress.running[sleeper.who] == 1)
    run.pause(sleeper)
    (run.folder / "go").touch()
    run.live_member("--lease", 1.0)
    run.wait("a peer has buried it", lambda: bool(run.bus.dead_letters.list("*")))
    run.resume(sleeper)
    run.wait("so has the sleeper", lambda: run.progress.failed[sleeper.who] == 1)
    _drain(run)


def closed_with_work_in_hand(run: Supervisor, *options: str) -> None:
    """A member is asked to stop while handlers run and further events wait in its hands."""
    member = run.live_member(*options)
    go = run.folder / "go"
    run.publish(*(Event("job.a", {"until": str(go)}) for _ in range(WORKERS)))
    run.publish(*(Event("job.b", {}) for _ in range(20)))
    run.wait("some wait in its hands", lambda: run.progress.held[member.who] > WORKERS)
    run.terminate(member)
    run.wait("it closes", lambda: member.who in run.progress.closing)
    go.touch()
    run.wait("it is closed", lambda: member.who in run.progress.closed)
    run.live_member()
    _drain(run)


def closed_but_alive(run: Supervisor) -> None:
    """As above, and the process lives on: nobody's death gives its events back."""
    closed_with_work_in_hand(run, "--linger")


def closed_at_leisure(run: Supervisor) -> None:
    """A member with a short timeout is asked to stop."""
    run.stop(_served(run, "--close-timeout", "0.3"))


def all_away(run: Supervisor) -> None:
    """Events of an old and a new type are published while no member is there."""
    run.stop(_served(run))
    run.publish(Event("job.a", {}), Event("job.new", {}))
    run.live_member()
    _drain(run)


def away_for_long(run: Supervisor) -> None:
    """What is published while no member is there grows older than the retention."""
    run.stop(_served(run))
    run.publisher("--count", 3, "--seed", 1, "--retention", 0.000001, "--maintain")
    run.wait_for_publishers()
    run.live_member()
    _drain(run)


def publisher_killed(run: Supervisor) -> None:
    """A publisher is killed as soon as it holds a confirmation."""
    run.live_member()
    publisher = run.publisher("--count", 200, "--seed", 1, "--batch", 1)
    run.wait("one is confirmed", lambda: run.progress.counts[steps.CONFIRMED] > 0)
    run.kill(publisher)
    _drain(run)


def published(run: Supervisor) -> None:
    """A publisher publishes."""
    run.live_member()
    run.publisher("--count", 30, "--seed", 1, "--batch", 5)
    run.wait_for_publishers()
    _drain(run)


def replayer_killed(run: Supervisor) -> None:
    """A replay is killed as soon as the dead letters are gone."""
    mended = run.folder / "mended"
    run.live_member()
    run.publish(*(Event("job.a", {"reject_until": str(mended)}) for _ in range(5)))
    run.wait("all are dead", lambda: len(run.bus.dead_letters.list("*")) == 5)
    mended.touch()
    replayer = run.replayer()
    run.wait(
        "the replay is over or cut",
        lambda: not replayer.is_running() or not run.bus.dead_letters.list("*"),
    )
    run.kill(replayer)
    _drain(run, quiet=2.0)


def _served(run: Supervisor, *options: str) -> Process:
    """A member that has handled an event."""
    member = run.live_member(*options)
    run.publish(Event("job.a", {}))
    _drain(run)
    return member


def _drain(run: Supervisor, quiet: float = QUIET) -> None:
    run.drain(quiet=quiet, budget=BUDGET)

"""A member of a consumer group as its own process; every step it takes is in the journal."""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from threading import Event as Flag
from threading import Thread, active_count

from eventbus import Event, EventBus, RetryPolicy
from eventbus.transports.base import Budget, Consumer, Delivery, Settlement, SubscriptionId
from eventbus.wire import decode

from . import journal as steps
from . import sabotage
from .journal import Journal, now
from .load import digest, obey, seq
from .pulse import Pulse, place
from .resources import described, open_files, resident

#: Seconds between two looks at the bus's health.
HEALTH_POLL = 0.1
#: Seconds that threads of a closed bus get to end.
THREAD_GRACE = 2.0


def main() -> None:
    options = _arguments()
    for name in options.sabotage:
        sabotage.apply(name)
    journal = Journal(options.journal, options.who)
    journal.note(steps.SPAWNED)
    _journal_warnings(journal)
    before = open_files()
    _note_resources(journal, "before")
    bus = EventBus(
        options.url, group=options.group, environ={}, lease=options.lease,
        max_concurrent_handlers=options.concurrency, close_timeout=options.close_timeout,
        retry=RetryPolicy(max_attempts=options.attempts, initial=0.02, maximum=0.1),
    )
    runs = count(1)
    _note_taken(bus, journal)
    for name in options.handlers:
        bus.on(options.pattern, journalled(journal, options.group, name, runs), name=name)
    _run(bus, journal, options)
    _wait_for_threads()
    if open_files() > before:
        journal.note(steps.LOG, text=f"INFO: left open: {described()}")
    _note_resources(journal, "after")
    if options.linger:
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.pause()


def _run(bus: EventBus, journal: Journal, options: argparse.Namespace) -> None:
    stop = Flag()
    watcher = Thread(target=_watch, args=(bus, journal, stop), name="watcher", daemon=True)
    _note_life(bus, journal, options, stop, watcher)
    watcher.start()
    pulse = Pulse(place(options.journal, options.who), journal)
    _note_settling(bus, pulse)
    bus.run()
    pulse.stop()
    journal.note(steps.CLOSED)


def _note_life(
    bus: EventBus, journal: Journal, options: argparse.Namespace, closes: Flag, watcher: Thread
) -> None:
    """Note when the subscriptions have come to life, and when the bus begins to close."""
    start, close = bus.start, bus.close

    def started(timeout: float | None = None) -> EventBus:
        start(timeout)
        for left, name in reversed(list(enumerate(options.handlers))):
            journal.note(
                steps.LIVE, group=options.group, pattern=options.pattern, handler=name,
                number=left,
            )
        return bus

    def closing(timeout: float | None = None) -> bool:
        closes.set()
        watcher.join()
        journal.note(steps.CLOSING, number=options.close_timeout)
        return close(timeout)

    bus.start, bus.close = started, closing  # type: ignore[method-assign]


def _note_taken(bus: EventBus, journal: Journal) -> None:
    """Note what comes from members that vanished: it may not have begun when this one does."""

    def changed(made: Consumer) -> None:
        fetch = made.fetch

        def fetched(
            budgets: Mapping[SubscriptionId, Budget], timeout: float
        ) -> Sequence[tuple[SubscriptionId, Sequence[Delivery]]]:
            found = fetch(budgets, timeout)
            for id, deliveries in found:
                for one in deliveries:
                    if one.deaths:
                        event = decode(one.data, topic=one.topic)
                        journal.note(steps.TAKEN, id=event.id, group=id.group)
            return found

        made.fetch = fetched  # type: ignore[method-assign]

    _change_consumers(bus, changed)


def _note_settling(bus: EventBus, pulse: Pulse) -> None:
    """Note how long the broker takes for a settlement."""

    def changed(made: Consumer) -> None:
        settle = made.settle

        def settled(settlement: Settlement) -> Collection[Delivery]:
            with pulse.settling():
                return settle(settlement)

        made.settle = settled  # type: ignore[method-assign]

    _change_consumers(bus, changed)


def _change_consumers(bus: EventBus, change: Callable[[Consumer], None]) -> None:
    """Those that are made from now on."""
    transport = bus._engine.transport
    make = transport.consumer

    def consumer(held: Collection[Delivery]) -> Consumer:
        made = make(held)
        change(made)
        return made

    transport.consumer = consumer  # type: ignore[method-assign]


def journalled(
    journal: Journal, group: str, name: str, runs: count[int]
) -> Callable[[Event], None]:
    """A handler that does what each event says, and notes what it does."""

    def handle(event: Event) -> None:
        about = {
            "id": event.id, "type": event.type, "key": event.key, "seq": seq(event),
            "attempt": event.attempt, "group": group, "handler": name, "run": next(runs),
        }
        journal.note(steps.START, digest=digest(event), **about)
        try:
            obey(event, name)
        except BaseException:
            journal.note(steps.FAIL, **about)
            raise
        journal.note(steps.END, **about)

    return handle


def _watch(bus: EventBus, journal: Journal, stop: Flag) -> None:
    """Note the health, how many events are held and were handed back, whenever they change."""
    before: tuple[str, int, int] = ("", 0, 0)
    while not stop.wait(HEALTH_POLL):
        health = bus.health()
        states = sorted({one.state for one in health.subscriptions})
        text = "ok" if health.ok and states else ",".join(states)
        held = sum(one.in_flight for one in health.subscriptions)
        released = bus.stats().released
        if (text, held, released) != before:
            journal.note(steps.STATE, text=text, number=held, more={"released": released})
            before = text, held, released


def _journal_warnings(journal: Journal) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            journal.note(
                steps.LOG, text=f"{record.levelname} {record.name}: {self.format(record)[:4000]}"
            )

    logger = logging.getLogger("eventbus")
    logger.addHandler(Handler(logging.WARNING))
    logger.propagate = False


def _wait_for_threads() -> None:
    """Idle workers end when they notice the close: give them a moment."""
    deadline = now() + THREAD_GRACE
    while active_count() > 1 and now() < deadline:
        time.sleep(0.005)


def _note_resources(journal: Journal, when: str) -> None:
    journal.note(
        steps.RESOURCES, text=when,
        more={"threads": active_count(), "files": open_files(), "resident": resident()},
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--who", required=True)
    parser.add_argument("--group", default="workers")
    parser.add_argument("--pattern", default="job.*")
    parser.add_argument("--handlers", nargs="+", default=["handle"])
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--attempts", type=int, default=3)
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--close-timeout", type=float, default=10.0)
    parser.add_argument("--linger", action="store_true", help="stay alive after the bus is closed")
    parser.add_argument("--sabotage", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()

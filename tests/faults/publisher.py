"""A publisher as its own process: journals each event before it is sent, and what became of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from zlib import crc32

from eventbus import Event, EventBus, PublishError

from . import journal as steps
from . import sabotage
from .journal import Journal
from .load import digest, seq, stream


def main() -> None:
    options = _arguments()
    for name in options.sabotage:
        sabotage.apply(name)
    journal = Journal(options.journal, options.who)
    journal.note(steps.SPAWNED)
    events = stream(
        options.count, seed=options.seed, prefix=options.who, seconds=options.seconds,
        keys=options.keys, failing=options.failing, rejected=options.rejected,
        mixed=not options.unmixed,
    )
    keep = timedelta(seconds=options.retention)

    def publish_all(events: list[Event]) -> None:
        for batch in _batches(events, options.batch):
            publish(bus, journal, batch)
            time.sleep(options.pause * options.threads)

    with (
        EventBus(options.url, group="publisher", environ={}, retention=keep) as bus,
        ThreadPoolExecutor(options.threads) as pool,
    ):
        list(pool.map(publish_all, _shared(events, options.threads)))
        if options.maintain:
            bus._engine.transport.maintain()


def publish(bus: EventBus, journal: Journal, events: list[Event]) -> None:
    """Publish events together, and journal the truth about each of them."""
    for event in events:
        journal.note(
            steps.ATTEMPTED, id=event.id, type=event.type, key=event.key, seq=seq(event),
            digest=digest(event),
        )
    try:
        if len(events) == 1:
            bus.publish(events[0])
        else:
            bus.publish_many(events)
    except PublishError as error:
        outcomes = error.outcomes
    else:
        outcomes = dict.fromkeys((event.id for event in events), "ok")
    names = {"ok": steps.CONFIRMED, "failed": steps.FAILED, "unknown": steps.UNKNOWN}
    for event in events:
        journal.note(names[outcomes[event.id]], id=event.id)


def _shared(events: Iterable[Event], threads: int) -> list[list[Event]]:
    """Each thread's events: those of a key are one thread's, in their order."""
    shares: list[list[Event]] = [[] for _ in range(threads)]
    for n, event in enumerate(events):
        shares[(n if event.key is None else crc32(event.key.encode())) % threads].append(event)
    return shares


def _batches(events: Iterable[Event], size: int) -> Iterator[list[Event]]:
    """Of `size` events each; every tenth batch is one event alone, sent by `publish`."""
    rest = iter(events)
    n = 0
    while batch := list(islice(rest, size if n % 10 else 1)):
        yield batch
        n += 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--who", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two batches")
    parser.add_argument("--threads", type=int, default=3, help="that share round trips")
    parser.add_argument("--keys", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=0.004)
    parser.add_argument("--failing", type=float, default=0.0)
    parser.add_argument("--rejected", type=float, default=0.0)
    parser.add_argument("--unmixed", action="store_true", help="one type per key")
    parser.add_argument("--retention", type=float, default=7 * 86_400.0)
    parser.add_argument("--maintain", action="store_true", help="clean up at the end")
    parser.add_argument("--sabotage", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()

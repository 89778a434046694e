"""Writes down whatever happens to users: a second consumer group with a wildcard."""

from __future__ import annotations

import sys

import lifeline
from journal import Journal

from eventbus import EventBus


def main() -> None:
    lifeline.hold()
    url, journal_path = sys.argv[1:3]
    journal = Journal(journal_path)
    bus = EventBus(url, group="audit", environ={})
    bus.on("user.**", journal.handled, name="audit")
    bus.start()
    print("ready", flush=True)
    bus.run()


if __name__ == "__main__":
    main()

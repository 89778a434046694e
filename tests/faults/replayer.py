"""Replays all dead letters of a group, from a process that hosts no handler."""

from __future__ import annotations

import argparse

from eventbus import EventBus

from . import journal as steps
from . import sabotage
from .journal import Journal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--who", required=True)
    parser.add_argument("--group", default="workers")
    parser.add_argument("--sabotage", nargs="*", default=[])
    options = parser.parse_args()
    for name in options.sabotage:
        sabotage.apply(name)
    Journal(options.journal, options.who).note(steps.SPAWNED)
    with EventBus(options.url, group=options.group, environ={}) as bus:
        bus.dead_letters.replay()


if __name__ == "__main__":
    main()

"""`python -m tests.faults.server_storm --transport redis`: members and their server are hurt in
turns; writes a page of the documentation, exit code 1 if any invariant broke."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from msgspec.structs import replace

from . import storm_command, summary
from .brokers import Place
from .checker.report import Report
from .checker.rules import Rules
from .kinds import KINDS
from .pages import server_page
from .server_storming import RULES, Faults, server_storm

#: Seconds from the end of the last session of a dead member to the first event.
JOINING = 3.0
FAULTS = (
    "{{kills}} members killed; server killed {0.server_kills} times, restarted {0.restarts} times,"
    " stood still for {0.pause:.0f} s, away for {0.outage:.0f} s"
)


#: Settings of each server under which its confirmations are kept.
SETTINGS = {
    "redis": "appendonly yes, appendfsync always",
    "postgres": "synchronous_commit on",
    "nats": "file storage, sync_interval always",
    "rabbitmq": "quorum queues",
    "kafka": "acks=all, log.flush.interval.messages=1",
}


def main() -> int:
    options = _arguments()
    transport = options.transport
    kind, rules, versions = KINDS[transport], _rules(transport), [""]

    def run(seed: int, folder: Path) -> Report:
        with kind.make(folder / "server") as server:
            versions.append(server.version())
            return server_storm(
                Place(server.url, server), folder, seed=seed, faults=Faults(), rules=rules
            )

    rows = storm_command.run_all(options, run, options.folder)
    if options.write:
        broker = f"{transport} {versions[-1]} ({SETTINGS[transport]})"
        target = summary.PAGES / f"{transport}.rst"
        target.write_text(server_page(transport, broker, Faults(), rows), "utf-8")
        summary.record(transport, broker, FAULTS.format(Faults()), rows)
    return storm_command.exit_code(rows)


def _rules(transport: str) -> Rules:
    rules = KINDS[transport].fit(RULES)
    if session := rules.session:
        # No lease: whoever is dead for a session is, and a second one may follow.
        return replace(rules, take_over=session + JOINING, recovery=2 * session + JOINING)
    return rules


def _arguments() -> argparse.Namespace:
    parser = storm_command.parser(__doc__, runs=1)
    parser.add_argument("--transport", choices=SETTINGS, required=True)
    parser.add_argument("--folder", help="where the data is; on a real disk", default="/var/tmp")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

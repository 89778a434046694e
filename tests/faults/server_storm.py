"""`python -m tests.faults.server_storm --transport redis`: members and their server are hurt in
turns; writes a page of the documentation, exit code 1 if any invariant broke."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from eventbus.transports import capabilities
from tests.servers import Nats, Postgres, RabbitMQ, Redis, Server
from tests.transports.kafka_server import BusKafka

from . import summary
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


class Kind(NamedTuple):
    """A server to be hurt, and the settings under which its confirmations are kept."""

    make: Callable[[Path], Server]
    settings: str


SERVERS = {
    "redis": Kind(Redis, "appendonly yes, appendfsync always"),
    "postgres": Kind(Postgres, "synchronous_commit on"),
    "nats": Kind(Nats, "file storage, sync_interval always"),
    "rabbitmq": Kind(RabbitMQ, "quorum queues"),
    "kafka": Kind(BusKafka, "acks=all, log.flush.interval.messages=1"),
}


def main() -> int:
    options = _arguments()
    master = options.seed if options.seed is not None else random.randrange(1_000_000)
    kind, rules = SERVERS[options.transport], _rules(options.transport)
    rows, version = [], ""
    for seed in range(master, master + options.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-", dir=options.folder))
        with kind.make(folder / "server") as server:
            version = server.version()
            report = server_storm(
                Place(server.url, server), folder, seed=seed, faults=Faults(), rules=rules
            )
        print(f"seed {seed}: {report}", flush=True)
        rows.append((seed, report))
        _keep_if_broken(report, folder)
    if options.write:
        target = summary.PAGES / f"{options.transport}.rst"
        broker = f"{options.transport} {version} ({kind.settings})"
        target.write_text(server_page(options.transport, broker, Faults(), rows), "utf-8")
        summary.record(options.transport, broker, FAULTS.format(Faults()), rows)
    return int(any(report.violations for _, report in rows))


def _rules(transport: str) -> Rules:
    able = capabilities(transport)
    # What is done waits for company before it is settled.
    window = 2.5 * able.settle_interval
    rules = replace(RULES, leases=able.receipts_survive, settle_window=window)
    if session := KINDS[transport].session:
        # No lease: whoever is dead for a session is, and a second one may follow.
        return replace(
            rules, session=session, take_over=session + JOINING, recovery=2 * session + JOINING
        )
    return rules


def _keep_if_broken(report: Report, folder: Path) -> None:
    """What went wrong is worth looking at; the run has said where it is."""
    if not report.violations:
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=SERVERS, required=True)
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count upwards")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", help="where the data is; on a real disk", default="/var/tmp")
    parser.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the documentation alone"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

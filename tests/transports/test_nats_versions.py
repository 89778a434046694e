"""The conformance suite on the oldest server that is supported, too, with the least rights."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Any

import pytest

from eventbus import Event, EventBus
from tests.conformance.target import Gate, wait_for
from tests.servers import Nats
from tests.transports import nats_user
from tests.transports.nats_servers import DebianNats

pytestmark = pytest.mark.nats

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
def test_the_conformance_suite_passes_on_debians_server(tmp_path: Path) -> None:
    options = {"authorization": nats_user.authorization("admin")}
    with DebianNats(tmp_path / "server", password="admin", options=options) as server:
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-k", "nats", "-p", "no:cacheprovider",
                f"--basetemp={tmp_path / 'tests'}", "tests/conformance",
            ],
            cwd=ROOT, capture_output=True, text=True, timeout=380, check=False,
            env={
                **os.environ, "NATS_URL": nats_user.url(server.url), "NATS_ADMIN_URL": server.url,
            },
        )
    assert done.returncode == 0, done.stdout[-4_000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


#: Events of a round; seconds that a handler takes: handlers set the pace, not the machine.
EVENTS, PACE = 200, 0.03
#: Rounds: at least, and at most where the machine disturbs them.
FEWEST, MOST = 5, 30


def test_a_stuck_member_does_not_slow_its_peers_by_a_tenth(tmp_path: Path) -> None:
    gate = Gate()

    def hang(event: Event) -> None:
        gate()

    with Nats(tmp_path) as server, ExitStack() as buses:
        def member(**settings: Any) -> EventBus:
            made = EventBus(server.url, group="g", environ={}, close_timeout=2.0, **settings)
            return buses.enter_context(made)

        stuck = member(max_in_flight=100)
        stuck.subscribe("beside", hang, name="h")
        stuck.publish_many([("beside", n) for n in range(100)])
        gate.wait_reached()
        wait_for(lambda: stuck.health().subscriptions[0].in_flight == 100, what="a full share")
        peers = [member(max_concurrent_handlers=4) for _ in range(4)]
        pairs = {"beside": Pair("beside", peers[:2]), "alone": Pair("alone", peers[2:])}
        # The best of each: what else the machine does slows them down, and nothing speeds them up.
        best = dict.fromkeys(pairs, inf)
        for number in range(MOST):
            if number >= FEWEST and best["beside"] < best["alone"] / 0.9:
                break
            for name, pair in pairs.items():
                best[name] = min(best[name], pair.round())
        gate.open()

    print(number, "rounds:", {name: f"{EVENTS / best[name]:.0f} events/s" for name in pairs})
    assert best["beside"] < best["alone"] / 0.9


class Pair:
    """Two members of one subscription."""

    def __init__(self, pattern: str, members: list[EventBus]) -> None:
        self._pattern = pattern
        self._publisher = members[0]
        self._handled: list[Any] = []
        for bus in members:
            bus.subscribe(pattern, self._handle, name="h")

    def _handle(self, event: Event) -> None:
        time.sleep(PACE)
        self._handled.append(event.payload)

    def round(self) -> float:
        """Seconds for publishing and handling some events."""
        goal = len(self._handled) + EVENTS
        began = time.monotonic()
        self._publisher.publish_many([(self._pattern, n) for n in range(EVENTS)])
        wait_for(lambda: len(self._handled) >= goal, what="a round")
        return time.monotonic() - began

"""The conformance suite on the oldest server that is supported, too, with the least rights."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventbus import Event, EventBus
from tests.conformance.target import Gate, Received, wait_for
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


def test_a_stuck_member_leaves_everything_else_to_its_peers(tmp_path: Path) -> None:
    gate = Gate()
    with Nats(tmp_path) as server:
        stuck, *peers = (
            EventBus(server.url, group="g", environ={}, max_in_flight=100) for _ in range(3)
        )
        received = Received(name="member")

        def hang(event: Event) -> None:
            gate()

        stuck.subscribe("work", hang, name="member")
        peers[0].publish_many([("work", n) for n in range(100)])
        gate.wait_reached()
        wait_for(lambda: stuck.health().subscriptions[0].in_flight == 100, what="a full share")
        for peer in peers:
            peer.subscribe("work", received)

        began = time.monotonic()
        peers[0].publish_many([("work", n) for n in range(100, 1_100)])
        received.wait_for_payloads(range(100, 1_100))

        assert time.monotonic() - began < 10
        gate.open()
        for bus in (*peers, stuck):
            bus.close()

"""Sessions that break in the middle of something, on SQLite."""

from __future__ import annotations

import os
import threading
import time

import pytest

from eventbus import EventBus, RetryPolicy, TransportUnavailable
from tests.conformance.target import Received, wait_for


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.db")


def test_a_claim_that_was_never_handed_over_is_claimed_again(path):
    with EventBus(f"sqlite:///{path}", group="g", environ={}) as bus:
        received = Received()
        bus.subscribe("a.b", received)
        loop = bus._engine.loops[0]
        wait_for(lambda: loop._consumer is not None, what="a session")
        consumer = loop._consumer
        claim = consumer._claim

        def claim_and_break(budgets):
            claim(budgets)
            raise TransportUnavailable("disk I/O error", outcome="unknown")

        consumer._claim = claim_and_break
        bus.publish("a.b", 1)

        received.wait(1)
        assert bus.join(10)
        assert received.payloads == [1]


def test_a_log_that_cannot_be_emptied_is_no_failed_publish(path, caplog):
    with EventBus(f"sqlite:///{path}", group="g", environ={}) as bus:
        bus.subscribe("never", Received())
        bus.publish("a.b")
        lock = path + "-eventbus-lock"
        if os.path.exists(lock):
            os.unlink(lock)
        os.mkdir(lock)  # Stands for a process without file descriptors left, or a full disk.

        for _ in range(10):
            bus.publish("a.b", "x" * 900_000)

        assert bus.stats().published == 11
        stored = bus._engine.transport
        with stored._database() as database:
            count = database.connection.execute("SELECT count(*) FROM eventbus_log").fetchone()
    assert count == (11,)
    assert "the log was not emptied" in caplog.text


def test_a_key_keeps_its_order_when_its_event_fails_while_the_bus_closes(path):
    url = f"sqlite:///{path}"
    begun = threading.Event()

    def fail(event):
        begun.set()
        time.sleep(0.2)
        raise RuntimeError("not now")

    patient = RetryPolicy(max_attempts=100, initial=20.0)
    with EventBus(url, group="g", environ={}, retry=patient) as bus:
        bus.subscribe("a.b", fail, name="h")
        for number in range(10):
            bus.publish("a.b", number, key="k")
        assert begun.wait(10)
    received = Received()
    with EventBus(url, group="g", environ={}) as bus:
        bus.subscribe("a.b", received, name="h")
        received.wait(10)
    assert received.payloads == list(range(10))

"""`join` asks the broker again and again, but does not keep it busy."""

from __future__ import annotations

import time

from eventbus import EventBus
from eventbus._engine.engine import JOIN_PAUSE


def test_a_count_that_takes_long_is_asked_for_less_often(monkeypatch):
    asked = []

    def backlog(id, mark):
        asked.append(mark)
        time.sleep(0.02)
        return 1

    with EventBus("memory:", group="g", environ={}) as bus:
        bus.subscribe("a.b", lambda event: None, name="h")
        monkeypatch.setattr(bus._engine.transport, "backlog", backlog)
        began = time.monotonic()

        assert not bus.join(1.0)

        assert 1.0 <= time.monotonic() - began < 2.0
    assert 2 <= len(asked) <= 1.0 / (0.02 * (1 + JOIN_PAUSE)) + 2

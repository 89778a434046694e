"""A password that is wrong, and right again later."""

from __future__ import annotations

import logging
import time

import pytest

from eventbus import AuthenticationError, EventBus, PublishError
from eventbus._engine import reconnect
from tests.conformance.target import Received, wait_for
from tests.servers import Server

from .kinds import PASSWORD, Kind


def test_members_serve_again_when_the_password_is_right_again(
    kind: Kind, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Seconds between two attempts of a subscription that has failed; half a minute otherwise.
    monkeypatch.setattr(reconnect, "PERMANENT", 0.5)
    caplog.set_level(logging.INFO, logger="eventbus")
    received = Received()
    with EventBus(server.url, group="g", environ={}) as bus:
        bus.subscribe("a.b", received)
        bus.publish("a.b", 1)
        received.wait_for_payloads([1])

        kind.let_in_by(server, "other-secret")
        wait_for(lambda: _states(bus) == {"failed"}, what="the failure to be seen")
        _refused_in_time(bus)
        kind.let_in_by(server, PASSWORD)

        wait_for(lambda: _states(bus) == {"running"}, what="members that serve again")
        bus.publish("a.b", 3)
        received.wait_for_payloads([1, 3])
    assert received.payloads == [1, 3]
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1
    assert "secret" not in caplog.text


def _states(bus: EventBus) -> set[str]:
    return {subscription.state for subscription in bus.health().subscriptions}


def _refused_in_time(bus: EventBus) -> None:
    began = time.monotonic()
    with pytest.raises(PublishError) as caught:
        bus.publish("a.b", 2)
    with pytest.raises(AuthenticationError) as refused:
        bus.subscribe("c.d", Received())
    assert time.monotonic() - began < 5.0
    assert caught.value.outcome == "failed"
    assert "secret" not in f"{caught.value}{refused.value}"

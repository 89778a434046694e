"""`declare`, and the list of what exists on the broker."""

from __future__ import annotations

import pytest

from eventbus import ConfigurationError, EventBus
from tests.conformance.target import Gate, Received, Target, wait_for


def existing(bus: EventBus, group: str | None = None) -> list[tuple[str, str]]:
    return sorted((info.group, info.pattern) for info in bus.subscriptions.list(group))


def test_declare_makes_the_declared_subscriptions_without_consuming(target: Target) -> None:
    bus, received = target.bus(group="mailer"), Received()
    bus.on("user.created", received)
    bus.on("user.*", received, group="audit", name="all")
    bus.on("*", received, name="every")

    bus.declare()
    bus.declare()

    assert existing(bus) == [("audit", "user.*"), ("mailer", "**"), ("mailer", "user.created")]
    assert existing(bus, "mailer") == [("mailer", "**"), ("mailer", "user.created")]
    bus.publish("user.created", 1)
    assert [info.backlog for info in bus.subscriptions.list("audit")] == [1]
    assert len(received) == 0
    bus.start()
    received.wait(3)
    assert received.payloads == [1, 1, 1]


@pytest.mark.needs(multi_process=True)
def test_what_is_published_after_a_declare_waits_for_its_handlers(target: Target) -> None:
    release, publisher, worker = target.bus(), target.bus(), target.bus()
    received = Received()
    for bus in (release, worker):
        bus.on("user.created", received)

    release.declare()
    release.close()
    publisher.publish("user.created", "early")
    worker.start()

    received.wait(1)
    assert received.payloads == ["early"]


def test_dropping_ends_a_subscription(target: Target) -> None:
    bus, received = target.bus(), Received()
    subscription = bus.subscribe("user.**", received)
    with pytest.raises(ValueError, match="live in this process: cancel its"):
        bus.subscriptions.drop("g", "user.**")
    subscription.cancel()

    assert bus.subscriptions.drop("g", "user.**") is True

    assert existing(bus) == []
    assert bus.subscriptions.drop("g", "user.**") is False
    bus.publish("user.created", "nobody's")
    bus.subscribe("user.**", received, name="again")
    bus.publish("user.created", "new")
    received.wait(1)
    assert bus.join(10)
    assert received.payloads == ["new"]


def test_the_backlog_is_what_is_not_settled(target: Target, gate: Gate) -> None:
    bus = target.bus()
    bus.subscribe("user.created", gate, name="gate")
    for number in range(3):
        bus.publish("user.created", number)

    assert [info.backlog for info in bus.subscriptions.list()] == [3]

    gate.open()
    wait_for(lambda: [info.backlog for info in bus.subscriptions.list()] == [0], what="no backlog")


def test_a_prefix_hides_what_is_outside(target: Target) -> None:
    bus = target.bus(prefix="prod", group="mailer")
    bus.subscribe("**", Received())
    bus.subscribe("user.*", Received())
    bus.publish("user.created", 1)

    assert existing(bus) == [("mailer", "**"), ("mailer", "user.*")]
    assert bus.topics() == ["user.created"]
    if target.capabilities.multi_process:
        other = target.bus(prefix="test")
        assert existing(other) == []
        assert other.topics() == []
        assert other.subscriptions.drop("mailer", "**") is False
        assert existing(target.bus()) == [("mailer", "prod.*.**"), ("mailer", "prod.user.*")]


def test_bad_names_are_refused(target: Target) -> None:
    bus = target.bus()
    for group, pattern in (("no group", "a"), ("g", "a..b")):
        with pytest.raises(ValueError, match=r"no group|a\.\.b"):
            bus.subscriptions.drop(group, pattern)
    with pytest.raises(ValueError, match="no group"):
        bus.subscriptions.list("no group")


@pytest.mark.needs(history=False)
def test_declare_refuses_a_start_that_is_not_there(target: Target) -> None:
    bus = target.bus()

    with pytest.raises(ConfigurationError, match="earliest"):
        bus.on("a", lambda event: None, name="x", start_from="earliest")


def test_diagnose_tells_what_is_there(target: Target) -> None:
    findings = target.bus().diagnose()

    assert findings
    assert {finding.level for finding in findings} <= {"ok", "warning"}
    assert all(finding.subject and finding.message for finding in findings)

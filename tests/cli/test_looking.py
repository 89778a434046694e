"""`declare`, `subscriptions`, `topics`, `stats` and `doctor`."""

from __future__ import annotations

import pytest

from eventbus import EventBus
from eventbus.cli import doctor as doctor_module
from eventbus.transports.base import Finding


def findings(result) -> dict[str, tuple[str, str]]:
    return {row["subject"]: (row["level"], row["message"]) for row in result.rows}


def test_declare_creates_what_an_application_handles(call, shop, url):
    code, out, err = call("declare", shop)
    assert (code, err) == (0, "")
    created = call("subscriptions", "list", "--url", url)
    assert created.out == out
    assert [(row["group"], row["pattern"], row["backlog"]) for row in created.rows] == [
        ("billing", "order.paid", 0), ("mailer", "user.*", 0),
    ]
    assert call("declare", "--app", shop) == (0, "", "")
    with EventBus(url, environ={}) as bus:
        bus.publish("user.created")
    assert call("subscriptions", "list", "-g", "mailer", "--url", url).rows[0]["backlog"] == 1


def test_subscriptions_end_when_they_are_dropped(call, shop, url):
    call("declare", shop)
    drop = ["subscriptions", "drop", "mailer", "user.*", "--url", url]
    refused = call(*drop, input="y\n")
    assert refused.code == 2
    assert "pass --yes" in refused.err
    assert len(call("subscriptions", "list", "--url", url).rows) == 2
    assert call(*drop, "--yes").rows == [{"dropped": 1}]
    assert [row["group"] for row in call("subscriptions", "list", "--url", url).rows] == ["billing"]
    again = call(*drop, "--yes")
    assert (again.code, again.err) == (1, "eventbus: group mailer has no subscription user.*\n")


def test_a_pattern_may_be_spelled_in_another_way(call, bus, url):
    bus.subscribe("**", print).cancel()
    bus.close()
    assert call("subscriptions", "drop", "mailer", "*", "--yes", "--url", url).code == 0
    assert call("subscriptions", "list", "--url", url).rows == []


def test_topics_are_those_of_the_prefix(call, url):
    for prefix in ("", "eu"):
        with EventBus(url, prefix=prefix, environ={}) as bus:
            bus.publish("user.created")
    assert call("topics", "--url", f"{url}?prefix=eu").rows == [{"type": "user.created"}]
    assert len(call("topics", "--url", url).rows) == 2


def test_stats_count_what_waits_and_what_failed(call, bus, fail, url):
    fail("a.b", 1, 2)
    fail("a.c", 3, group="gone")
    bus.subscriptions.drop("gone", "a.c")
    bus.publish_many([("a.b", n) for n in range(3)])
    rows = call("stats", "--url", url).rows
    assert rows[0].pop("created_at")
    assert rows == [
        {"group": "mailer", "pattern": "a.b", "backlog": 3, "dead_letters": 2},
        {"group": "gone", "pattern": "a.c", "backlog": None, "dead_letters": 1,
         "created_at": None},
    ]


def test_doctor_finds_nothing_wrong(call, shop, url):
    call("declare", shop)
    result = call("doctor", "--app", shop)
    assert (result.code, result.err) == (0, "")
    assert {row["level"] for row in result.rows} == {"ok"}
    found = findings(result)
    assert found["provider"] == ("ok", "sqlite")
    assert found["location"] == ("ok", url)
    assert found["group"] == ("ok", "mailer")
    assert found["mailer user.*"] == ("ok", "0 waiting")
    assert found["dead letters"] == ("ok", "none")
    assert found["integrity"] == ("ok", "ok")


def test_doctor_counts_what_waits_and_what_failed(call, bus, fail, url):
    fail("a.b", 1, 2)
    bus.publish("a.b", 3)
    result = call("doctor", "--url", url)
    assert result.code == 0
    assert findings(result)["mailer a.b"] == ("ok", "1 waiting")
    level, message = findings(result)["dead letters"]
    assert level == "warning"
    assert message.startswith("2 dead letters (group mailer)")


def test_doctor_fails_when_the_broker_is_away(call):
    result = call("doctor", "--url", "sqlite:////no/such/folder/events.db")
    assert (result.code, result.err) == (1, "")
    assert findings(result)["broker"][0] == "error"


def test_doctor_fails_on_any_error(call, url, monkeypatch):
    broken = [Finding("ok", "first", "fine"), Finding("error", "integrity", "row 7 is missing")]
    monkeypatch.setattr(EventBus, "diagnose", lambda self: broken)
    result = call("doctor", "--url", url)
    assert result.code == 1
    assert findings(result)["integrity"] == ("error", "row 7 is missing")
    assert "dead letters" in findings(result)


@pytest.mark.parametrize(
    ("url", "subject"), [("memory:", "durability"), ("sqlite:///empty.db", "subscriptions")]
)
def test_doctor_warns(call, url, subject):
    result = call("doctor", "--url", url)
    assert result.code == 0
    assert findings(result)[subject][0] == "warning"


def test_doctor_warns_of_a_group_that_nobody_chose(call, tmp_path):
    (tmp_path / "careless.py").write_text(
        "from eventbus import EventBus\nbus = EventBus('sqlite:///events.db')\n"
    )
    level, message = findings(call("doctor", "--app", "careless:bus"))["group"]
    assert level == "warning"
    assert "group='your-service'" in message


def test_doctor_shows_no_password(call, monkeypatch):
    location = "postgresql://db.example.com/shop"
    monkeypatch.setattr(
        EventBus, "diagnose", lambda self: [Finding("ok", "x", self.config.location)]
    )
    result = call("doctor", "--url", "postgresql://me:s3cret@db.example.com/shop")
    assert "s3cret" not in result.out + result.err
    assert result.code in (0, 1, 2) and (location in result.out or "postgres" in result.err)


def test_doctor_knows_a_tail_that_was_killed(call, bus, url, monkeypatch):
    bus.subscribe("**", print, group="eventbus-tail-1-abc").cancel()
    assert findings(call("doctor", "--url", url))["eventbus-tail-1-abc **"][0] == "ok"
    monkeypatch.setattr(doctor_module, "FORGOTTEN", doctor_module.FORGOTTEN * 0)
    level, message = findings(call("doctor", "--url", url))["eventbus-tail-1-abc **"]
    assert level == "warning"
    assert "eventbus subscriptions drop eventbus-tail-1-abc '**'" in message

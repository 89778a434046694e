"""`eventbus dead`: list, show, replay, purge."""

from __future__ import annotations

import sqlite3
import time

import pytest

from eventbus import Reject
from eventbus.cli.dead.selection import Selection
from eventbus.cli.options import Duration
from tests.conformance.target import Received, wait_for


@pytest.fixture
def letters(fail) -> list[str]:
    """Three of one group, one of another."""
    return [
        *fail("order.paid", 1, 2), *fail("user.created", 3, error=Reject("never")),
        *fail("order.sent", 4, group="billing"),
    ]


def ids(result) -> list[str]:
    assert result.code == 0, result.err
    return [row["id"] for row in result.rows]


FILTERS = {
    "none": ([], [0, 1, 2, 3]),
    "all groups": (["--group", "*"], [0, 1, 2, 3]),
    "group": (["--group", "mailer"], [0, 1, 2]),
    "type": (["--type", "order.*"], [0, 1, 3]),
    "reason": (["--reason", "rejected"], [2]),
    "maximum": (["--max", "2"], [0, 1]),
    "age": (["--older-than", "1h"], []),
    "combined": (["--type", "order.*", "--group", "mailer", "--max", "1"], [0]),
}


@pytest.mark.parametrize(("options", "expected"), FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("command", ["list", "replay --dry-run", "purge --dry-run"])
def test_filters_choose_the_same_everywhere(call, url, letters, command, options, expected):
    found = ids(call("dead", *command.split(), *options, "--url", url))
    assert found == [letters[number] for number in expected]
    assert ids(call("dead", "list", "--url", url)) == letters


AGES = {"90": 90, "1.5s": 1.5, "15m": 900, "12h": 43_200, "7d": 604_800, "2w": 1_209_600}


@pytest.mark.parametrize(("age", "seconds"), [*AGES.items(), ("1d12h", 129_600), ("0", 0)])
def test_an_age_has_units(age, seconds):
    assert Duration().convert(age, None, None) == seconds


def test_what_is_old_enough_is_chosen(call, url, letters):
    wait_for(lambda: ids(call("dead", "list", "--older-than", "0.2s", "--url", url)) == letters)


def test_the_group_is_that_of_the_bus_where_it_has_one(call, url, letters, shop):
    assert ids(call("dead", "list", "--app", shop)) == letters[:3]
    own = f"{url}?consumer_group=billing"
    assert ids(call("dead", "list", "--url", own)) == letters[3:]
    assert ids(call("dead", "list", "--url", own, "-g", "*")) == letters


def test_json_has_every_field(call, url, letters):
    (row,) = call("dead", "show", letters[0], "--url", url).rows
    assert row == call("dead", "list", "--url", url).rows[0]
    assert row.keys() == {
        "id", "event_id", "event", "data", "group", "pattern", "handler", "reason", "error",
        "traceback", "attempts", "first_failed_at", "failed_at",
    }
    assert (row["handler"], row["group"], row["attempts"]) == ("shop.handler", "mailer", 1)
    assert row["event"]["payload"] == 1
    assert "RuntimeError: no 1" in row["traceback"]


def test_listing_a_hundred_times_changes_nothing(call, url, letters):
    first = call("dead", "list", "--url", url)
    assert all(call("dead", "list", "--url", url) == first for _ in range(100))


def test_bytes_that_are_no_event_can_be_shown(call, url, bus, letters, tmp_path):
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("UPDATE eventbus_dead SET data = ? WHERE id = ?", (b"\xff", letters[0]))
    connection.close()
    (row,) = call("dead", "show", letters[0], "--url", url).rows
    assert (row["event"], row["data"]) == (None, "/w==")


@pytest.mark.parametrize("command", ["show", "replay", "purge --yes"])
def test_an_unknown_id_is_a_failure(call, url, letters, command):
    code, out, err = call("dead", *command.split(), letters[0], "nosuch", "--url", url)
    assert (code, out, err) == (1, "", "eventbus: no dead letter has the id nosuch\n")
    assert ids(call("dead", "list", "--url", url)) == letters


@pytest.mark.parametrize("command", ["replay", "purge --yes"])
def test_ids_and_filters_exclude_each_other(call, url, letters, command):
    result = call("dead", *command.split(), letters[0], "--group", "mailer", "--url", url)
    assert result.code == 2
    assert "give ids or filters, not both" in result.err


def test_replay_gives_events_back_to_their_handler(call, url, bus, letters):
    received = Received(name="shop.handler")
    bus.subscribe("order.paid", received, name="shop.handler")
    result = call("dead", "replay", "--type", "order.paid", "--url", url)
    assert (result.rows, result.err) == ([{"replayed": 2}], "")
    received.wait_for_payloads([1, 2])
    assert ids(call("dead", "list", "--url", url)) == letters[2:]


def test_replay_takes_ids_of_any_group(call, url, bus, letters):
    own = f"{url}?consumer_group=mailer"
    assert call("dead", "replay", letters[3], letters[0], "--url", own).rows == [{"replayed": 2}]
    assert ids(call("dead", "list", "--url", url)) == letters[1:3]


def test_replay_keeps_to_a_rate(call, url, fail):
    fail("a.b", *range(10))
    began = time.monotonic()
    assert call("dead", "replay", "--rate", "10", "--url", url).rows == [{"replayed": 10}]
    assert time.monotonic() - began > 0.8


def test_replay_of_a_dropped_subscription_fails_and_keeps_the_letters(call, url, bus, letters):
    bus.close()
    assert call("subscriptions", "drop", "billing", "order.sent", "--yes", "--url", url).code == 0
    code, _, err = call("dead", "replay", "--url", url)
    assert code == 1
    assert err.count("\n") == 1
    assert ids(call("dead", "list", "--url", url)) == letters[3:]


def test_purge_removes(call, url, letters):
    assert call("dead", "purge", "--max", "1", "-y", "--url", url).rows == [{"purged": 1}]
    assert call("dead", "purge", letters[2], "--yes", "--url", url).rows == [{"purged": 1}]
    assert ids(call("dead", "list", "--url", url)) == [letters[1], letters[3]]
    assert call("dead", "purge", "--yes", "--url", url).rows == [{"purged": 2}]
    assert call("dead", "purge", "--yes", "--url", url).rows == [{"purged": 0}]


def test_purge_refuses_where_nobody_can_answer(call, url, letters):
    code, out, err = call("dead", "purge", "--url", url, input="y\n")
    assert (code, out) == (2, "")
    assert "pass --yes" in err
    assert ids(call("dead", "list", "--url", url)) == letters


def test_what_fails_after_the_question_is_not_purged(bus, fail):
    asked = fail("a.b", 1, 2)
    filters = dict.fromkeys(("group", "type", "reason", "older_than", "maximum"))
    selection = Selection(bus, (), filters)
    assert [letter.id for letter in selection.letters] == asked
    later = fail("a.c", 3)
    ids, filters = selection.arguments()
    assert bus.dead_letters.purge(*ids, **filters) == 2
    assert [letter.id for letter in bus.dead_letters.list()] == later


def test_a_rejection_is_the_handlers_own_words(call, url, letters):
    row = call("dead", "list", "--reason", "rejected", "--url", url).rows[0]
    assert "never" in row["error"]

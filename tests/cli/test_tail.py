"""`eventbus tail`: a process that prints events, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import signal
import sqlite3
import time

import pytest

from eventbus.cli import tail as tail_module
from eventbus.cli.tail import GROUP_PREFIX
from tests.conformance.target import Received, wait_for


@pytest.fixture
def tails(bus):
    """The groups of tails that exist now."""

    def tails() -> list[str]:
        groups = [one.group for one in bus.subscriptions.list()]
        return [group for group in groups if group.startswith(GROUP_PREFIX)]

    return tails


@pytest.fixture
def start(spawn, url, tails):
    """Starts a tail and waits until it is live."""

    def start(*arguments: str, **options):
        process = spawn("tail", *arguments, "--url", url, **options)
        wait_for(lambda: tails() or process.poll() is not None)
        return process

    return start


def read(process, number: int) -> list:
    return [json.loads(process.stdout.readline()) for _ in range(number)]


def test_prints_matching_events_in_order_with_every_field(start, bus):
    process = start("order.*")
    bus.publish("user.created", 0)
    events = [bus.publish("order.paid", n, key="k", metadata={"a": "b"}) for n in range(50)]
    rows = read(process, 50)
    assert [row["id"] for row in rows] == [event.id for event in events]
    assert rows[7].pop("timestamp")
    assert rows[7] == {
        "type": "order.paid", "payload": 7, "key": "k", "metadata": {"a": "b"},
        "id": events[7].id, "attempt": 1, "topic": "order.paid",
    }


def test_from_start_begins_with_the_oldest(call, bus, url, monkeypatch):
    write = tail_module.write_json

    def hesitate(event):
        time.sleep(0.05 if event.payload % 10 == 0 else 0)
        write(event)

    monkeypatch.setattr(tail_module, "write_json", hesitate)
    bus.publish_many([("a.b", n) for n in range(50)])
    result = call("tail", "a.*", "--from-start", "--max", "50", "--url", url)
    assert [row["payload"] for row in result.rows] == list(range(50))
    assert (result.code, result.err) == (0, "")


def test_without_it_only_the_new_ones_come(start, bus):
    bus.publish("a.b", "old")
    process = start("a.b", "-n", "1")
    bus.publish("a.b", "new")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out)["payload"], err) == (0, "new", "")


def test_takes_nothing_from_anybody(start, bus):
    received = Received()
    bus.subscribe("a.b", received, name="received")
    process = start("a.b")
    bus.publish_many([("a.b", n) for n in range(30)])
    assert [row["payload"] for row in read(process, 30)] == list(range(30))
    received.wait_for_payloads(range(30))


ENDINGS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.parametrize(("number", "code"), ENDINGS.items(), ids=lambda one: str(one))
def test_a_signal_ends_it_cleanly_and_removes_its_group(start, bus, tails, number, code):
    process = start("**")
    bus.publish("a.b", 1)
    assert read(process, 1)
    assert len(tails()) == 1
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (code, "", "")
    assert tails() == []


def test_ctrl_c_ends_it_while_events_pour_in(start, bus, tails):
    bus.publish_many([("a.b", n) for n in range(5000)])
    process = start("**", "--from-start")
    assert read(process, 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "")
    assert tails() == []


def test_a_reader_that_goes_away_ends_it(start, bus, tails):
    process = start("**")
    bus.publish("a.b", 1)
    assert read(process, 1)
    process.stdout.close()
    bus.publish("a.b", 2)
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""
    assert tails() == []


def test_a_reader_that_has_stopped_reading_does_not_hold_it(start, bus, tails):
    bus.publish_many([("a.b", "x" * 1000) for n in range(1000)])
    process = start("**", "--from-start")
    assert read(process, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert tails() == []


def test_leaves_no_dead_letters_of_foreign_bytes(start, bus, tmp_path, tails):
    bus.publish("a.b", 1)
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("UPDATE eventbus_log SET data = ?", (b"foreign",))
    connection.close()
    process = start("a.b", "--from-start")
    wait_for(lambda: bus.dead_letters.list("*"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert bus.dead_letters.list("*") == []


def test_an_unreachable_broker_is_one_line(call):
    code, out, err = call("tail", "**", "--url", "sqlite:////no/such/folder/events.db")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_control_characters_of_a_payload_are_escaped(call, bus, url):
    bus.publish("a.b", "\x9b2J\u202e\x1b[31m")
    result = call("tail", "**", "--from-start", "-n", "1", "--json", "--url", url)
    assert result.rows[0]["payload"] == "\x9b2J\u202e\x1b[31m"
    assert result.out.rstrip("\n").isprintable()

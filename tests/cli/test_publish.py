"""`eventbus publish`: one event, and many from stdin."""

from __future__ import annotations

import json

import pytest

from eventbus.cli import drafts
from tests.conformance.target import Received, wait_for


@pytest.fixture
def received(bus) -> Received:
    received = Received()
    bus.subscribe("**", received, name="received")
    return received


def test_publishes_one_event_and_prints_all_of_it(call, url, received):
    code, out, err = call(
        "publish", "user.created", '{"id": 7}', "--key", "7", "-m", "a=1", "-m", "b=x=y",
        "--url", url,
    )
    assert (code, err) == (0, "")
    (event,) = received.wait(1)
    assert (event.type, event.payload, event.key) == ("user.created", {"id": 7}, "7")
    assert event.metadata == {"a": "1", "b": "x=y"}
    printed = json.loads(out)
    assert printed["id"] == event.id
    assert printed.keys() >= {"type", "payload", "key", "metadata", "timestamp"}


@pytest.mark.parametrize("payload", ["null", "1.5", '"text"', "[1]", '{"é": "\\u001b"}'])
def test_any_json_is_a_payload(call, url, received, payload):
    assert call("publish", "a.b", payload, "--url", url).code == 0
    assert received.wait(1)[0].payload == json.loads(payload)


def test_publishes_each_line_of_stdin_in_order(call, url, bus, received, monkeypatch):
    chunks = []
    monkeypatch.setattr(drafts, "CHUNK", 100)
    publish_many = type(bus).publish_many
    monkeypatch.setattr(
        type(bus), "publish_many",
        lambda self, events: chunks.append(len(events)) or publish_many(self, events),
    )
    lines = "".join(f'{{"n": {n}}}\n' for n in range(250))
    result = call("publish", "a.b", "-", "-k", "one", "--url", url, input=lines)
    assert (result.code, result.rows, result.err) == (0, [{"published": 250}], "")
    assert received.wait(250)
    assert [payload["n"] for payload in received.payloads] == list(range(250))
    assert chunks == [100, 100, 50]


def test_empty_lines_and_a_missing_last_newline_do_not_matter(call, url, received):
    result = call("publish", "a.b", "-", "--url", url, input="1\n\n  \r\n2\r\n3")
    assert result.rows == [{"published": 3}]
    received.wait_for_payloads([1, 2, 3])


def test_no_line_is_no_event(call, url):
    assert call("publish", "a.b", "-", "--url", url, input="").rows == [{"published": 0}]


def test_a_wrong_line_is_named_after_those_before_it_were_published(call, url, received):
    code, out, err = call("publish", "a.b", "-", "--url", url, input="1\n\n2\noops\n3\n")
    assert (code, out) == (1, "")
    assert err.startswith("eventbus: line 4: the payload must be JSON")
    assert err.endswith("(published: 2)\n")
    received.wait_for_payloads([1, 2])
    assert len(received) == 2


@pytest.mark.parametrize("text", [b'"\xff"', b"[" * 100_000, b'{"a": NaN}', b"1 2"])
def test_what_is_no_json_is_refused(call, url, text):
    code, _, err = call("publish", "a.b", "-", "--url", url, input=text + b"\n")
    assert code == 1
    assert err.count("\n") == 1 and "line 1: " in err


def test_an_event_that_is_too_large_is_refused(call, url, spawn):
    large = json.dumps("x" * 1_100_000)
    code, _, err = call("publish", "a.b", "-", "--url", url, input=large)
    assert code == 1
    assert err.endswith("(published: 0)\n")
    assert len(err) < 500


def test_lines_are_published_as_they_come(spawn, url, received):
    process = spawn("publish", "a.b", "-", "--url", url)
    for n in range(3):
        process.stdin.write(f"{n}\n")
        process.stdin.flush()
        received.wait_for_payloads([n])
    out, err = process.communicate(timeout=30)
    assert (process.returncode, json.loads(out), err) == (0, {"published": 3}, "")


def test_ctrl_c_tells_what_was_published(spawn, url, received):
    process = spawn("publish", "a.b", "-", "--url", url)
    process.stdin.write("1\n2\n")
    process.stdin.flush()
    received.wait_for_payloads([1, 2])
    wait_for(lambda: process.poll() is None)
    process.send_signal(2)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.split("\n") == ["", "published: 2", "", ""]

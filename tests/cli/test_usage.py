"""Where the bus comes from, exit codes, errors in one line, help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventbus import __version__

ROOT = Path(__file__).parents[2]
COMMANDS = [
    [], ["run"], ["declare"], ["publish"], ["tail"], ["dead"], ["dead", "list"], ["dead", "show"],
    ["dead", "replay"], ["dead", "purge"], ["subscriptions"], ["subscriptions", "list"],
    ["subscriptions", "drop"], ["topics"], ["stats"], ["doctor"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "eventbus")
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help_with_examples(call, command, option):
    result = call(*command, option)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage: eventbus")
    assert all(name in result.out for name in ("--app", "--url", "--debug"))
    if command not in (["dead"], ["subscriptions"]):
        assert "\n  Examples:\n    eventbus " in result.out
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize("command", [[], ["dead"], ["subscriptions"]])
def test_a_group_alone_shows_its_help(call, command):
    assert call(*command) == call(*command, "--help")


def test_version(call):
    assert call("--version").out == f"eventbus {__version__}\n"


WRONG = {
    "no such command": (["bogus"], "No such command 'bogus' (see 'eventbus --help')"),
    "no such option": (["topics", "--bogus"], "No such option"),
    "missing argument": (["publish", "a.b"], "Missing argument 'JSON|-'"),
    "no bus": (["topics"], "--app, --url or set EVENT_BUS_PROVIDER"),
    "two buses": (["topics", "--app", "a:b", "--url", "sqlite:///a"], "give one of them"),
    "a bus of one process": (["topics", "--url", "memory:"], "lives inside its process"),
    "unknown scheme": (["topics", "--url", "ftp://me:secret@host"], "unknown scheme"),
    "no such module": (["topics", "--app", "nosuch:bus"], "No module named 'nosuch'"),
    "no such name": (["topics", "--app", "json:bus"], "no attribute 'bus'"),
    "not a bus": (["topics", "--app", "json:dumps"], "not an EventBus"),
    "a bad type": (["publish", "a b", "1", "--url", "sqlite:///e.db"], "' ' at index 1"),
    "no JSON": (["publish", "a.b", "oops", "--url", "sqlite:///e.db"], "must be JSON"),
    "a bad key": (["publish", "a.b", "1", "-k", "\n", "--url", "sqlite:///e.db"], "key"),
    "bad metadata": (["publish", "a.b", "1", "-m", "x", "--url", "sqlite:///e.db"], "NAME=VALUE"),
    "a bad pattern": (["tail", "a.*b", "--url", "sqlite:///e.db"], "'*' at index 2"),
    "a bad group": (["dead", "list", "-g", "a b", "--url", "sqlite:///e.db"], "consumer group"),
    "a bad age": (["dead", "list", "--older-than", "1y", "--url", "sqlite:///e.db"], "12h"),
    "a bad number": (["dead", "list", "--max", "0", "--url", "sqlite:///e.db"], "x>=1"),
    "a bad rate": (["dead", "replay", "--rate", "0", "--url", "sqlite:///e.db"], "x>0"),
    "a bad reason": (["dead", "list", "--reason", "bad", "--url", "sqlite:///e.db"], "undecodable"),
    "run without app": (["run"], "name it as module:bus"),
    "run with a URL": (["run", "a:b", "--url", "sqlite:///e.db"], "give one of them"),
    "declare without app": (["declare", "--url", "sqlite:///e.db"], "name it as module:bus"),
    "app twice": (["run", "a:b", "--app", "c:d"], "given twice"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_usage_exits_with_2_and_one_line(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("eventbus: ") and err.count("\n") == 1
    assert "secret" not in err and "Traceback" not in err


def test_failure_exits_with_1_and_one_line(call):
    code, out, err = call("topics", "--url", "sqlite:////no/such/folder/events.db")
    assert (code, out) == (1, "")
    assert err.startswith("eventbus: ") and err.count("\n") == 1
    assert "/no/such/folder" in err


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(call, place):
    command = ["topics", "--url", "sqlite:////no/such/folder/events.db"]
    code, _, err = call(*(["--debug", *command] if place == "before" else [*command, "--debug"]))
    assert code == 1
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("eventbus: ")


def test_an_application_that_fails_to_import_is_one_harmless_line(call, tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('\\x1b[31m one\\ntwo')")
    code, _, err = call("topics", "--app", "broken:bus")
    assert code == 2
    assert err == r"eventbus: importing 'broken' failed: RuntimeError: \x1b[31m one two" + "\n"


def test_the_bus_comes_from_a_module_in_the_working_directory(call, shop, bus):
    bus.publish("user.created")
    assert call("topics", "--app", shop).rows == [{"type": "user.created"}]
    assert call("--app", shop, "topics").rows == [{"type": "user.created"}]
    assert call("topics", "-A", "shop").rows == [{"type": "user.created"}]


def test_the_bus_comes_from_the_environment(call, bus, monkeypatch, tmp_path):
    bus.publish("user.created")
    monkeypatch.setenv("EVENT_BUS_PROVIDER", "sqlite")
    monkeypatch.setenv("EVENT_BUS_DB_PATH", str(tmp_path / "events.db"))
    assert call("topics").rows == [{"type": "user.created"}]


def test_a_url_wins_over_the_environment(call, bus, url, monkeypatch, tmp_path):
    bus.publish("user.created")
    monkeypatch.setenv("EVENT_BUS_PROVIDER", "memory")
    monkeypatch.setenv("EVENT_BUS_DB_PATH", str(tmp_path / "other.db"))
    monkeypatch.setenv("EVENT_BUS_PREFIX", "elsewhere")
    assert call("topics", "--url", url).rows == [{"type": "user.created"}]


def test_shell_completion():
    result = subprocess.run(
        [sys.executable, "-c", "from eventbus.cli import main; main()"], cwd=ROOT, text=True,
        capture_output=True, timeout=60,
        env={**os.environ, "_EVENTBUS_COMPLETE": "bash_complete", "COMP_WORDS": "eventbus de",
             "COMP_CWORD": "1"},
    )
    assert result.stdout.split() == ["plain,dead", "plain,declare"]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from eventbus.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60
    )
    assert result.returncode == 2
    assert result.stderr == f"eventbus: no {missing} here, run: pip install 'eventbus[cli]'\n"


def test_without_watchfiles_reload_says_what_to_install(call, monkeypatch, shop):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    code, _, err = call("run", shop, "--reload")
    assert code == 2
    assert "pip install 'eventbus[cli]'" in err


def test_importing_eventbus_imports_neither_click_nor_rich():
    code = "import eventbus, eventbus.cli, json, sys; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, timeout=60
    )
    assert {"click", "rich", "watchfiles"} & set(json.loads(result.stdout)) == set()

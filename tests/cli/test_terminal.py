"""What people see: tables, questions, progress; and what events cannot make them see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.cli.terminal import Terminal

NASTY = "\x1b[31mred\x9b2J \u202e[bold]b[/bold] :smile:\nforged"
SHOWN = r"\x1b[31mred\x9b2J \u202e[bold]b[/bold] :smile:\nforged"


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts a command on a terminal of its own; both end with the test."""
    started: list[Terminal] = []

    def start(*arguments: str, **options: int) -> Terminal:
        started.append(Terminal(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def shown(terminal) -> Callable[..., str]:
    """Runs a command to its end and returns what it shows, which must be harmless."""

    def shown(*arguments: str, columns: int = 120) -> str:
        ended = terminal(*arguments, columns=columns)
        assert ended.end() == 0, ended.text
        assert re.search(r"[\x80-\x9f\u202e]", ended.raw) is None
        # Our own styles are gone, so nothing may be left that steers a terminal.
        assert re.search(r"[\x00-\x09\x0b-\x1f]", ended.text) is None, repr(ended.text)
        return ended.text

    return shown


@pytest.fixture
def letter(fail, url) -> str:
    (id,) = fail("order.paid", {"note": NASTY, "n": 1}, error=RuntimeError(NASTY), key="k")
    return id


def test_tables_have_headings_and_one_line_per_row(shown, fail, bus, url):
    fail("order.paid", 1)
    assert shown("topics", "--url", url).split() == ["TYPE", "order.paid"]
    heading, row = shown("subscriptions", "list", "--url", url).splitlines()
    assert heading.split() == ["GROUP", "PATTERN", "BACKLOG", "CREATED"]
    assert row.split()[:3] == ["mailer", "order.paid", "0"]
    heading, row = shown("stats", "--url", url).splitlines()
    assert row.split()[:4] == ["mailer", "order.paid", "0", "1"]


def test_json_on_request(shown, bus, url):
    bus.publish("a.b")
    assert shown("topics", "--json", "--url", url) == '{"type":"a.b"}\n'


def test_an_empty_table_says_so(shown, url):
    assert "No dead letters." in shown("dead", "list", "--url", url)
    assert "Nothing was ever published" in shown("topics", "--url", url)


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (140, ["ID", "TYPE", "GROUP", "HANDLER", "REASON", "AGE", "ERROR"]),
        (95, ["ID", "TYPE", "HANDLER", "AGE", "ERROR"]),
        (80, ["ID", "TYPE", "AGE", "ERROR"]),
        (30, ["ID", "TYPE", "AGE", "ERROR"]),
    ],
)
def test_dead_letters_fit_the_terminal_and_ids_are_whole(shown, letter, url, columns, headings):
    heading, row = shown("dead", "list", "--url", url, columns=columns).splitlines()
    assert heading.split() == headings
    assert row.startswith(letter)
    assert row.rstrip().endswith("…")
    assert len(row) <= max(columns, 80)


def test_a_wide_terminal_shows_the_whole_error(shown, letter, url):
    assert shown("dead", "list", "--url", url, columns=200).rstrip().endswith(SHOWN)


def test_a_dead_letter_in_full(shown, letter, url):
    text = shown("dead", "show", letter, "--url", url, columns=60)
    assert f"Dead letter:   {letter}\n" in text
    assert f"Error:         RuntimeError: {SHOWN}\n" in text
    assert "Handler:       shop.handler\n" in text
    assert '    "note": "\\u001b[31mred\\u009b2J \\u202e[bold]b[/bold] :smile:\\nforged",\n' in text
    assert "Traceback:\n  Traceback (most recent call last):\n" in text
    assert "\n  forged\n" in text  # a traceback has lines


def test_events_as_they_come(terminal, bus, url):
    started = terminal("tail", "**", "--from-start", "--url", url)
    bus.publish("a.b", {"text": NASTY}, key="k", metadata={"a": "\x7f"})
    started.wait_for(lambda text: "forged" in text)
    started.type("\x03")
    assert started.end() == 130
    line = started.text.splitlines()[0]
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z  a\.b  key=k  \{"a":"\\u007f"\}  \{"text":".*"\}',
        line,
    ), line
    assert "[bold]b[/bold] :smile:" in line
    assert "Traceback" not in started.text
    assert [one.group for one in bus.subscriptions.list()] == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1)])
def test_purge_asks(terminal, letter, bus, url, answer, code, left):
    started = terminal("dead", "purge", "--url", url)
    started.wait_for(lambda text: "Purge 1 dead letter (group mailer)?" in text)
    started.type(answer)
    assert started.end() == code
    assert len(bus.dead_letters.list()) == left
    assert ("Purged 1 of 1" if code == 0 else "Nothing was changed.") in started.text


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1)])
def test_drop_asks(terminal, bus, url, answer, code, left):
    bus.subscribe("a.b", print).cancel()
    bus.publish("a.b")
    started = terminal("subscriptions", "drop", "mailer", "a.b", "--url", url)
    started.wait_for(lambda text: "Drop a.b of group mailer? 1 waiting" in text)
    started.type(answer)
    assert started.end() == code
    assert len(bus.subscriptions.list()) == left


def test_ctrl_c_at_a_question_changes_nothing(terminal, letter, bus, url):
    started = terminal("dead", "purge", "--url", url)
    started.wait_for(lambda text: "[y/N]: " in text)
    started.press_ctrl_c()
    assert started.end() == 130
    assert "Traceback" not in started.text
    assert len(bus.dead_letters.list()) == 1


def test_ctrl_c_drains_a_reloaded_process(terminal, bus, url, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\nfrom eventbus import EventBus\n"
        f"bus = EventBus({url!r}, group='slow')\n"
        "@bus.on('a.b', start_from='earliest')\n"
        "def handle(event):\n"
        "    print('begin', flush=True)\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    print('end', flush=True)\n"
    )
    bus.publish("a.b")
    started = terminal("run", "slow:bus", "--reload")
    started.wait_for(lambda text: "begin" in text)
    started.type("\x03")
    # The supervisor alone gets the Ctrl-C: the child would take both as an order to end at once.
    started.wait_for(lambda text: re.search(r"stopping on \w", text))
    assert "stopping on SIGTERM" in started.text
    (tmp_path / "go").touch()
    assert started.end() == 130
    assert started.text.rstrip().endswith("end")


def test_long_work_shows_its_progress(terminal, fail, url):
    fail("a.b", 1, 2)
    started = terminal("dead", "replay", "--url", url)
    assert started.end() == 0
    assert "Replaying" in started.text and "2/2" in started.text
    assert started.text.rstrip().endswith("Replayed 2 of 2 dead letters (group mailer).")


def test_doctor_wraps_what_it_has_to_say(shown, letter, url):
    text = shown("doctor", "--url", url, columns=60)
    assert "warning  dead letters" in text
    assert " ".join(text.split()).endswith("eventbus dead list --group '*'")

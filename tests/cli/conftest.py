"""What tests of the command line share: a file of events, a way in, and an application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from eventbus import Event, EventBus, RetryPolicy
from eventbus.cli.root import root
from tests.conformance.target import wait_for

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No variable of the caller's, an empty working directory."""
    for name in list(os.environ):
        if name.startswith("EVENT_BUS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'events.db'}"


@pytest.fixture
def bus(url) -> Iterator[EventBus]:
    with EventBus(url, group="mailer", environ={}, retry=RetryPolicy(max_attempts=1)) as bus:
        yield bus


@pytest.fixture
def call(tmp_path) -> Callable[..., Result]:
    """Runs a command inside this process; each imports the application anew, as a process does."""

    def call(*arguments: str, input: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(root, list(arguments), prog_name="eventbus", input=input)
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Result(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def spawn(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command as a process of its own, with pipes; ends it with the test."""
    processes: list[subprocess.Popen[str]] = []

    def spawn(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "eventbus", *arguments], text=True,
            stdin=options.pop("stdin", subprocess.PIPE), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}, **options,
        )
        processes.append(process)
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def fail(bus) -> Callable[..., list[str]]:
    """Makes dead letters and returns their ids, oldest first."""

    def fail(
        type: str, *payloads: Any, group: str = "mailer", error: Exception | None = None,
        **fields: Any,
    ) -> list[str]:
        def handler(event: Event) -> None:
            raise error or RuntimeError(f"no {event.payload}")

        before = {letter.id for letter in bus.dead_letters.list("*")}
        subscription = bus.subscribe(type, handler, group=group, name="shop.handler")
        for payload in payloads:
            bus.publish(type, payload, **fields)
        wait_for(lambda: len(bus.dead_letters.list("*")) == len(before) + len(payloads))
        assert bus.join(20)
        subscription.cancel()
        return [one.id for one in bus.dead_letters.list("*") if one.id not in before]

    return fail


@pytest.fixture
def shop(tmp_path, url) -> str:
    """An application in the working directory; returns its `module:bus`."""
    (tmp_path / "shop.py").write_text(
        f"""\
from eventbus import EventBus
bus = EventBus({url!r}, group="mailer")
@bus.on("user.*")
def welcome(event):
    print("welcome", event.payload, flush=True)
@bus.on("order.paid", group="billing")
def charge(event):
    print("charge", event.payload, flush=True)
"""
    )
    return "shop:bus"

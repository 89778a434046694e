"""The pytest plugin, as its users meet it: in runs of pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest in a process of its own, with this plugin and no other."""
    # Named once: pytest refuses a plugin that comes by its entry point as well.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments: str) -> pytest.RunResult:
        options = ("-p", "eventbus.pytest_plugin", "-p", "no:cacheprovider", "-W", "error")
        return pytester.runpytest_subprocess(*options, *arguments, timeout=60)

    return run


@pytest.fixture
def installed(pytester, monkeypatch):
    """A distribution with the entry point that ours declares, for runs in a new process."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    about = pytester.mkdir("site") / "declared-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1.0\n")
    declared = setup["options.entry_points"]["pytest11"].strip()
    (about / "entry_points.txt").write_text(f"[pytest11]\n{declared}\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{about.parent}")


@pytest.mark.usefixtures("installed")
def test_pytest_finds_it_by_itself_and_can_be_told_not_to(pytester):
    pytester.makepyfile("def test_it(bus): pass")

    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)
    without = pytester.runpytest_subprocess("-p", "no:eventbus")
    without.assert_outcomes(errors=1)
    without.stdout.fnmatch_lines(["*fixture 'bus' not found*"])


def test_loading_it_imports_neither_the_engine_nor_the_helpers():
    code = "import sys, eventbus.pytest_plugin; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, check=True, timeout=60,
        stdout=subprocess.PIPE,
    ).stdout.split()

    assert "eventbus.pytest_plugin" in loaded
    assert [
        name for name in loaded
        if name.startswith(("eventbus._engine", "eventbus.transports", "eventbus.testing"))
    ] == []


def test_nothing_happens_unasked(pytester, run):
    pytester.makepyfile(
        """
        import sys, threading

        def test_plain(request):
            assert request.fixturenames == ["request"]
            assert not [name for name in sys.modules if name.startswith("eventbus._engine")]
            assert threading.active_count() == 1
        """
    )

    run().assert_outcomes(passed=1)


def test_its_fixtures_are_listed_with_what_they_are(run):
    run("--fixtures").stdout.fnmatch_lines([
        "bus -- *pytest_plugin.py:*",
        "    An `EventBus` on memory for one test*",
        "recorded -- *pytest_plugin.py:*",
        "    What the test publishes on `bus`*",
    ])


def test_bus_and_recorded(pytester, run):
    pytester.makepyfile(
        """
        def test_handling(bus, recorded):
            bus.on("order.paid", lambda event: bus.publish("invoice.created"), name="charge")
            bus.start()
            bus.publish("order.paid", {"id": 7})
            recorded.assert_published("invoice.created", timeout=10.0)
            assert recorded.types == ["order.paid", "invoice.created"]

        def test_a_fresh_one_each_time(bus, recorded):
            recorded.assert_nothing_published()
        """
    )

    run().assert_outcomes(passed=2)


def test_the_bus_is_closed_after_its_test(pytester, run):
    pytester.makepyfile(
        """
        import threading
        from eventbus import BusClosedError
        import pytest
        from eventbus.testing import wait_for

        used = []

        def test_one(bus):
            bus.subscribe("a.b", print, name="h")
            used.append(bus)

        def test_two():
            with pytest.raises(BusClosedError):
                used[0].publish("a.b")
            wait_for(lambda: not [t for t in threading.enumerate() if "eventbus" in t.name])
        """
    )

    run().assert_outcomes(passed=2)


def test_the_environment_does_not_matter(pytester, run, monkeypatch):
    monkeypatch.setenv("EVENT_BUS_PROVIDER", "redis")
    monkeypatch.setenv("EVENT_BUS_PREFIX", "production")
    monkeypatch.setenv("EVENT_BUS_BUFFER_SIZE", "1")
    pytester.makepyfile(
        """
        def test_it(bus):
            assert str(bus.config.provider) == "memory"
            assert bus.config.prefix == ""
        """
    )

    run().assert_outcomes(passed=1)


def test_failing_handlers_are_retried_at_once_and_bursts_fit(pytester, run):
    pytester.makepyfile(
        """
        from threading import Event as Flag

        def test_retries(bus, recorded):
            attempts = []

            def fail(event):
                attempts.append(event.attempt)
                raise ValueError

            bus.subscribe("a.b", fail, name="h")
            bus.publish("a.b")
            assert bus.join(5.0)
            assert attempts == [1, 2, 3, 4]

        def test_burst(bus, recorded):
            gate = Flag()
            bus.subscribe("a.b", lambda event: gate.wait(10), name="h")
            bus.publish_many([("a.b", n) for n in range(5_000)])
            gate.set()
            assert bus.join(20)
            recorded.assert_published("a.b", count=5_000)
        """
    )

    run().assert_outcomes(passed=2)


def test_ones_own_bus_takes_precedence_and_is_recorded(pytester, run):
    pytester.makepyfile(shop="""
        from eventbus import EventBus

        bus = EventBus("sqlite:////proc/nowhere/events.db", group="shop", environ={})

        @bus.on("order.paid")
        def charge(event):
            bus.publish("invoice.created", event.payload)

        def pay(number):
            bus.publish("order.paid", {"id": number})
    """)
    pytester.makeconftest(
        """
        import pytest, shop
        from eventbus.testing import synchronous

        @pytest.fixture
        def bus():
            with synchronous(shop.bus):
                yield shop.bus
        """
    )
    pytester.makepyfile(
        """
        import shop

        def test_it(recorded):
            shop.pay(7)
            recorded.assert_published("invoice.created", payload={"id": 7}, count=1)
            assert recorded.types == ["order.paid", "invoice.created"]

        def test_again(recorded):
            recorded.assert_nothing_published()
        """
    )

    run().assert_outcomes(passed=2)


def test_a_bus_of_another_kind_is_left_alone(pytester, run):
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def bus():
            return "number 12"
        """
    )
    pytester.makepyfile(
        """
        def test_theirs(bus):
            assert bus == "number 12"

        def test_recorded(recorded):
            pass
        """
    )

    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*TypeError: an EventBus is needed, not 'number 12'; if that*"])


def test_a_failure_points_at_the_test_and_shows_what_was_published(pytester, run):
    pytester.makepyfile(
        """
        def test_it(bus, recorded):
            bus.publish("user.created", {"id": 8}, key="8")
            recorded.assert_published("user.created", payload={"id": 7})
        """
    )

    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        ">*recorded.assert_published(*",
        "E *AssertionError: event 'user.created' with payload={'id': 7} was never published",
        "E *near misses:",
        "E *1. user.created key='8' payload={'id': 8}",
        "E *payload[[]'id'] is 8, not 7",
        "E *published on EventBus('memory:', group='test'), in order:",
    ])
    result.stdout.no_fnmatch_line("*_testing/recorded.py*")

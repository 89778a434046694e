"""How a process ends: each test is a script in an interpreter of its own."""

from __future__ import annotations

import textwrap
import time

import pytest

from tests.lifecycle.scripts import NO_EARLY_HOOK, run

ENDS = """
    import sys, time
    from eventbus import EventBus
    bus = EventBus(sys.argv[1], group="g", environ={})
    bus.subscribe("a.b", lambda event: time.sleep(0.0005), name="h")
    bus.publish_many([("a.b", n) for n in range(10_000)])
    print(time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("before", ["", NO_EARLY_HOOK], ids=["early-hook", "no-early-hook"])
def test_a_script_that_simply_ends_exits_soon_and_silently(url, before):
    result = run(before + textwrap.dedent(ENDS), url)
    assert time.monotonic() - float(result.stdout) < 5
    assert (result.returncode, result.stderr) == (0, "")


def test_the_exit_code_survives(url):
    result = run(textwrap.dedent(ENDS) + "sys.exit(7)", url)
    assert (result.returncode, result.stderr) == (7, "")


def test_what_was_not_handled_at_exit_is_handled_by_the_next_process(tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    count = """
    import sys, time
    from eventbus import EventBus
    bus = EventBus(sys.argv[1], group="g", environ={})
    def handle(event):
        with lock: seen.append(event.payload)
        time.sleep(0.0005)
    import threading
    lock, seen = threading.Lock(), []
    bus.subscribe("a.b", handle, name="h")
    """
    first = run(
        textwrap.dedent(count) + "import atexit\n"
        "bus.publish_many([('a.b', n) for n in range(5000)])\n"
        "atexit.register(lambda: print(len(seen)))", url,
    )
    second = run(textwrap.dedent(count) + "print(bus.join(20)); print(len(seen))", url)
    assert second.stdout.splitlines()[0] == "True", second.stderr
    assert int(first.stdout) + int(second.stdout.splitlines()[1]) == 5000


HOOK = """
    import atexit, sys
    BEFORE
    from eventbus import EventBus
    bus = EventBus(sys.argv[1], group="g", environ={})
    def last_words():
        bus.publish("a.c", 1)
        bus.publish_soon("a.c", 2).result(5)
        for n in range(200):
            bus.publish_soon("a.c", n)
        CLOSE
    AFTER
    bus.subscribe("a.b", print, name="h")
    bus.publish("a.b", 1)
    bus.publish_soon("a.b", 2)
    bus.join(10)
"""


def hook(when: str, close: str) -> str:
    script = HOOK.replace("CLOSE", close)
    # Hooks run in the opposite order: one that was registered first is the last to run.
    script = script.replace("BEFORE", "atexit.register(lambda: last_words())" * (when == "before"))
    return script.replace("AFTER", "atexit.register(last_words)" * (when == "after"))


@pytest.mark.parametrize("early", ["", NO_EARLY_HOOK], ids=["early-hook", "no-early-hook"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_atexit_hook_can_still_publish_and_close(url, when, early):
    result = run(early + textwrap.dedent(hook(when, "print(bus.close())")), url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_an_atexit_hook_publishes_is_stored_without_close(sqlite_url, when):
    result = run(hook(when, "pass"), sqlite_url)
    assert (result.returncode, result.stderr) == (0, "")
    count = run(
        """
        import sys
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="counting", environ={})
        seen = []
        bus.subscribe("a.c", seen.append, name="h", start_from="earliest")
        print(bus.join(20), len(seen), bus.close())
        """,
        sqlite_url,
    )
    assert count.stdout == "True 202 True\n"


@pytest.mark.parametrize("early", ["", NO_EARLY_HOOK], ids=["early-hook", "no-early-hook"])
@pytest.mark.parametrize("fresh", [False, True], ids=["same-bus", "new-bus"])
def test_nobody_begins_to_handle_in_an_atexit_hook(url, early, fresh):
    """A consumer that began now would take events and never get to them."""
    result = run(
        early + textwrap.dedent(
            """
            import atexit, sys
            from eventbus import BusClosedError, EventBus
            bus = EventBus(sys.argv[1], group="g", environ={})
            def too_late():
                late = EventBus(sys.argv[1], group="g", environ={}) if FRESH else bus
                late.publish("a.b")
                try:
                    late.subscribe("a.b", print, name="h")
                except BusClosedError as error:
                    print("refused:", error)
                late.publish("a.b")
                print(late.close())
            # Runs after the hook of eventbus itself.
            atexit.unregister(too_late)
            import eventbus._engine.lifecycle as lifecycle
            atexit.unregister(lifecycle._exit_ends)
            atexit.register(too_late)
            atexit.register(lifecycle._exit_ends)
            """
        ).replace("FRESH", str(fresh)),
        url,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "refused: the interpreter is exiting: no handler begins any more\nTrue\n"
    )


def test_a_service_in_a_thread_ends_with_the_main_thread(url):
    """Python runs its exit callbacks before it joins the thread that `run` is in."""
    result = run(
        """
        import sys, threading, time
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        live = threading.Event()
        bus.on("a.b", lambda event: live.set(), name="h")
        service = threading.Thread(target=bus.run)
        service.start()
        while not live.wait(0.01):
            bus.publish("a.b")
        print(time.monotonic(), flush=True)
        """,
        url,
    )
    assert time.monotonic() - float(result.stdout) < 5
    assert (result.returncode, result.stderr) == (0, "")


def test_many_buses_share_the_time_that_handlers_have_at_exit(url):
    result = run(
        """
        import sys, threading, time
        from eventbus import EventBus
        begun = threading.Semaphore(0)
        def handle(event):
            begun.release()
            threading.Event().wait()
        buses = []
        for n in range(8):
            bus = EventBus(sys.argv[1], group=f"g{n}", environ={}, close_timeout=1.0)
            bus.subscribe("a.b", handle, name="h")
            bus.publish("a.b")
            assert begun.acquire(timeout=10)
            buses.append(bus)
        print(time.monotonic(), flush=True)
        """,
        url,
    )
    assert time.monotonic() - float(result.stdout) < 5
    assert result.returncode == 0


def test_publish_soon_is_flushed_at_exit(tmp_path):
    url = f"sqlite:///{tmp_path}/events.db"
    script = """
        import sys
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        BODY
    """
    publish = "for n in range(3000): bus.publish_soon('a.b', n)"
    result = run(script.replace("BODY", publish), url)
    assert (result.returncode, result.stderr) == (0, "")
    count = (
        "seen = []; bus.subscribe('a.b', seen.append, name='h', start_from='earliest');"
        " bus.join(20); print(len(seen))"
    )
    result = run(script.replace("BODY", count), url)
    assert result.stdout == "3000\n"


def test_a_handler_that_never_ends_does_not_hold_the_exit_longer_than_close_timeout(url):
    result = run(
        """
        import sys, threading, time
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={}, close_timeout=1.0)
        begun = threading.Event()
        def handle(event):
            begun.set()
            threading.Event().wait()
        bus.subscribe("a.b", handle, name="h")
        bus.publish("a.b")
        begun.wait(10)
        print(time.monotonic(), flush=True)
        """,
        url,
    )
    assert time.monotonic() - float(result.stdout) < 5
    assert result.returncode == 0

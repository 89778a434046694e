"""SIGTERM and SIGINT under `run`, and `close` in a signal handler of the user's own."""

from __future__ import annotations

import signal
import time

import pytest

from tests.lifecycle.scripts import finish, run, start
from tests.lifecycle.waiting import wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_drains_on_a_signal_and_leaves_with_zero(url, number):
    process = start(
        """
        import signal, sys, time
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        @bus.on("a.b")
        def handle(event):
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                time.sleep(0.01)
            print("begun", flush=True)
            time.sleep(0.5)
            print("done", flush=True)
        bus.start()
        bus.publish("a.b")
        bus.run()
        print("closed")
        """,
        url,
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "done\nclosed\n", "")


def test_a_second_signal_forces_the_end(url):
    process = start(
        """
        import signal, sys, threading, time
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        @bus.on("a.b")
        def handle(event):
            while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                time.sleep(0.01)
            print("begun", flush=True)
            threading.Event().wait()
        bus.start()
        bus.publish("a.b")
        bus.run()
        """,
        url,
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        # Repeated until it is seen: the first one may not have been taken in yet.
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_run_while_the_broker_is_away(sqlite_url, number):
    process = start(
        """
        import sqlite3, sys
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        bus.publish("a.b")
        # Held for as long as this process lives: nobody else can write.
        lock = sqlite3.connect(bus.config.sqlite.absolute, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        bus.on("a.b", print, name="h")
        print("ready", flush=True)
        bus.run()
        print("closed")
        """,
        sqlite_url,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    begun = time.monotonic()
    process.send_signal(number)
    result = finish(process)
    assert time.monotonic() - begun < 5
    assert (result.returncode, result.stdout, result.stderr) == (0, "closed\n", "")


def test_a_child_that_a_handler_forks_can_be_terminated(url):
    """`Process.terminate` sends one SIGTERM; the handler of `run` must not swallow it there."""
    result = run(
        """
        import multiprocessing, sys, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        def handle(event):
            context = multiprocessing.get_context("fork")
            ready = context.Event()
            child = context.Process(target=lambda: (ready.set(), time.sleep(60)))
            child.start()
            assert ready.wait(10)
            child.terminate()
            child.join(10)
            print(child.exitcode, flush=True)
            child.kill()
            bus.close()
        bus.on("a.b", handle, name="h")
        bus.declare()
        bus.publish("a.b")
        bus.run()
        """,
        url,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "-15\n", "")


CLOSE_IN_HANDLER = """
    import os, signal, sys, threading, time
    from eventbus import BusClosedError, EventBus, PublishError
    bus = EventBus(sys.argv[1], group="g", environ={}, close_timeout=20.0)
    seen = []
    def handle(event):
        time.sleep(0.05)
        seen.append(event.payload)
    def on_signal(number, frame):
        begun = time.monotonic()
        print(bus.close(), time.monotonic() - begun < 1, flush=True)
    def within(holder, name):
        # Let the signal arrive while this function runs, with whatever its callers hold.
        original = getattr(holder, name)
        def interrupted(*arguments, **keywords):
            if threading.current_thread() is threading.main_thread():
                setattr(holder, name, original)
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(1000):
                    pass
            return original(*arguments, **keywords)
        setattr(holder, name, interrupted)
    signal.signal(signal.SIGUSR1, on_signal)
    engine, memory = bus._engine, sys.argv[1] == "memory:"
    if memory:
        import eventbus.transports.memory as transport
        inner, backlog = (transport, "Delivery"), (transport._Queue, "unsettled")
    else:
        import eventbus.transports.sqlite.transport as transport
        inner, backlog = (transport, "_insert"), (transport, "_backlog")
    bus.subscribe("a.b", handle, name="h")
    for n in range(5):
        bus.publish("a.b", n)
    try:
        BODY
    except (BusClosedError, PublishError) as error:
        print(type(error).__name__)
    print("after", flush=True)
    begun = time.monotonic()
    while any(thread.name.startswith("eventbus") for thread in threading.enumerate()):
        if time.monotonic() - begun > 10:
            print(threading.enumerate(), bus.close(), flush=True)
            break
        time.sleep(0.01)
    print(bus.close(), len(seen) == len(set(seen)))
"""
CUTS = {
    "publish": "within(*inner); bus.publish('a.b', 5)",
    "publish-many": "within(*inner); bus.publish_many([('a.b', n) for n in range(5, 10)])",
    "publish-soon": "within(engine.soon, '_start'); bus.publish_soon('a.b', 5)",
    "subscribe": "within(engine, '_member'); bus.subscribe('c.d', print, name='h')",
    "join": "within(*backlog); bus.join(20)",
    "join-waiting": "within(engine.ending, 'wait'); bus.join(20)",
    "wake": "within(engine.loops[0]._wakeup, 'set'); bus.subscribe('c.d', print, name='h')",
    "close": "within(engine.dispatcher, 'stop'); print('outer', bus.close())",
}


@pytest.mark.parametrize("cut", CUTS)
def test_close_in_a_signal_handler_never_waits_for_what_it_cut_in_upon(url, cut):
    result = run(CLOSE_IN_HANDLER.replace("BODY", CUTS[cut]), url)
    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert lines[0] == "False True"
    assert "after" in lines
    assert lines[-1] == "True True"


def test_close_in_a_signal_handler_drains_when_it_cuts_in_upon_nothing_of_ours(url):
    body = "os.kill(os.getpid(), signal.SIGUSR1); time.sleep(0.01)"
    result = run(CLOSE_IN_HANDLER.replace("BODY", body), url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "True True\nafter\nTrue True\n"


def test_a_signal_handler_that_closes_and_exits_loses_nothing(sqlite_url, tmp_path):
    """`SystemExit` comes up wherever the main thread is in a publish."""
    script = """
        import os, signal, sys
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        journal = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        def note(word, n):
            os.write(journal, f"{word} {n}\\n".encode())
        def stop(number, frame):
            bus.close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        bus.subscribe("a.b", lambda event: note("handled", event.payload), name="h")
        n = 0
        while sys.argv[3] == "publish":
            note("publishing", n)
            bus.publish("a.b", n)
            note("published", n)
            n += 1
        bus.join(20)
        bus.close()
    """
    journal = tmp_path / "journal"
    process = start(script, sqlite_url, str(journal), "publish")
    wait_for(lambda: journal.exists() and journal.read_text().count("published") > 100)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    first = finish(process)
    assert time.monotonic() - begun < 5
    second = run(script, sqlite_url, str(journal), "no")
    assert (first.returncode, first.stderr, second.stderr) == (0, "", "")
    notes = [line.split() for line in journal.read_text().splitlines()]
    published = {n for word, n in notes if word == "published"}
    handled = [n for word, n in notes if word == "handled"]
    assert published <= set(handled) <= {n for word, n in notes if word == "publishing"}
    assert len(handled) == len(set(handled))

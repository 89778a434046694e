"""How a process ends: each test is a script in an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_EARLY_HOOK = """\
import concurrent.futures.thread, threading
threading._register_atexit = None
"""


@pytest.fixture(params=["memory:", "sqlite:///{}/events.db"], ids=["memory", "sqlite"])
def url(request, tmp_path):
    return request.param.format(tmp_path)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(script, *arguments)
    out, err = process.communicate(timeout=40)
    return subprocess.CompletedProcess([], process.returncode, out, err)


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


def test_an_atexit_hook_can_still_publish_and_close(url):
    result = run(
        """
        import atexit, sys
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        def last_words():
            bus.publish("a.c", 1)
            bus.publish_soon("a.c", 2).result(5)
            print(bus.close())
        atexit.register(last_words)
        bus.subscribe("a.b", print, name="h")
        bus.publish("a.b", 1)
        bus.join(10)
        """,
        url,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "True"


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


def test_a_forked_child_publishes_on_connections_of_its_own(tmp_path):
    result = run(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from eventbus import EventBus
        bus = EventBus(sys.argv[1], group="g", environ={})
        seen = []
        bus.subscribe("a.b", lambda event: seen.append(event.payload), name="h")
        bus.publish("a.b", "parent")
        children = []
        for n in range(3):
            pid = os.fork()
            if pid == 0:
                assert not bus.health().subscriptions
                bus.publish("a.b", f"child {n}")
                os._exit(0 if bus.close() else 1)
            children.append(pid)
        print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
        bus.publish("a.b", "parent again")
        print(bus.join(20), sorted(seen))
        print(bus.close())
        """,
        f"sqlite:///{tmp_path}/events.db",
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "[0, 0, 0]",
        "True ['child 0', 'child 1', 'child 2', 'parent', 'parent again']",
        "True",
    ]


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

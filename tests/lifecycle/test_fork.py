"""Forked and spawned children: nothing of the parent's is theirs."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from eventbus import EventBus
from tests.lifecycle.scripts import ROOT, run
from tests.lifecycle.waiting import Received

QUIET = """
    import os, signal, sys, threading, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from eventbus import BusClosedError, EventBus
    bus = EventBus(sys.argv[1], group="g", environ={})
"""


def forking(body: str) -> str:
    return textwrap.dedent(QUIET) + textwrap.dedent(body)


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




def test_the_child_of_a_busy_parent_disturbs_nothing(sqlite_url):
    """Publishers and handlers are at work at each fork; children end in every way there is."""
    result = run(
        forking(
            """
            seen, lock = [], threading.Lock()
            def handle(event):
                with lock:
                    seen.append(event.payload)
            bus.subscribe("a.b", handle, name="h")
            sent, stop = [], threading.Event()
            def publish(start):
                n = start
                while not stop.is_set():
                    bus.publish("a.b", n)
                    sent.append(n)
                    n += 1
            publishers = [
                threading.Thread(target=publish, args=(10**6 * k,)) for k in range(1, 5)
            ]
            for thread in publishers:
                thread.start()
            children = []
            for n in range(20):
                pid = os.fork()
                if pid == 0:
                    bus.publish("a.b", -n)
                    if n % 3 == 0:
                        os._exit(0)
                    sys.exit(0 if n % 3 == 1 or bus.close() else 1)
                children.append(pid)
                sent.append(-n)
                time.sleep(0.02)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
            stop.set()
            for thread in publishers:
                thread.join()
            print(set(codes), bus.join(20), sorted(seen) == sorted(sent))
            print(bus.stats().reconnects, bus.stats().leases_lost, bus.close())
            """
        ),
        sqlite_url,
    )
    assert result.stderr == ""
    assert result.stdout == "{0} True True\n0 0 True\n"


def test_a_child_that_outlives_its_parent_loses_nothing(sqlite_url):
    """A daemon: while others come and go, the file's log is not to vanish from under it."""
    stranger = (
        "import sys; from eventbus import EventBus;"
        " bus = EventBus(sys.argv[1], group='x', environ={});"
        " bus.publish('a.b', 'stranger'); bus.close()"
    )
    result = run(
        forking(
            """
            import subprocess
            bus.publish("a.b", "parent")
            parent = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == parent:
                time.sleep(0.01)
            bus.publish("a.b", "before")
            subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], check=True)
            bus.publish("a.b", "after")
            bus.close()
            os._exit(0)
            """
        ),
        sqlite_url, stranger,
    )
    assert (result.returncode, result.stderr) == (0, "")
    with EventBus(sqlite_url, group="late", environ={}) as bus:
        received = Received()
        bus.subscribe("a.b", received, start_from="earliest")
        received.wait(4)
    assert received.payloads == ["parent", "before", "stranger", "after"]


def test_locks_that_other_threads_hold_at_the_fork_are_not_the_childs(sqlite_url):
    """The publisher's, the transport's, the file's, the engine's and the queue's, all at once."""
    result = run(
        forking(
            """
            from eventbus.transports.sqlite import database
            bus.subscribe("a.b", print, name="h")
            bus.publish("a.b", "first")
            bus.publish_soon("a.b", "second").result(5)
            bus.join(5)
            engine = bus._engine
            locks = [
                engine.publisher._group._lock, engine.publisher._count_lock,
                engine.transport._lock,
                *database._writers.values(), engine._lock, engine.soon._changed,
                engine.dispatcher._lock, bus._lock,
            ]
            held, go_on = threading.Event(), threading.Event()
            def hold():
                for lock in locks:
                    lock.acquire()
                held.set()
                go_on.wait()
                for lock in locks:
                    lock.release()
            holder = threading.Thread(target=hold)
            holder.start()
            held.wait()
            pid = os.fork()
            if pid == 0:
                bus.publish("c.d")
                bus.publish_soon("c.d").result(5)
                bus.subscribe("c.d", print, name="h")
                bus.join(5)
                os._exit(0 if bus.close(5) else 1)
            deadline = time.monotonic() + 10
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done or time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            print(bool(done), status, flush=True)
            go_on.set()
            holder.join()
            print(bus.close())
            """
        ),
        sqlite_url,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines()[-2:] == ["True 0", "True"]


def test_the_publish_soon_queue_of_a_child_is_empty(sqlite_url):
    result = run(
        forking(
            """
            seen = []
            bus.subscribe("a.b", lambda event: seen.append(event.payload), name="h")
            # The parent's thread cannot send meanwhile.
            group = bus._engine.publisher._group
            group._lock.acquire(timeout=1)
            for n in range(100):
                bus.publish_soon("a.b", n)
            pid = os.fork()
            if pid == 0:
                bus.publish_soon("a.b", "child")
                sys.exit(0)
            print(os.waitpid(pid, 0)[1])
            group._lock.release()
            group._pass_on()
            bus._engine.soon.flush(10)
            print(bus.join(10), len(seen), seen.count("child"), len(set(seen)))
            """
        ),
        sqlite_url,
    )
    assert (result.stdout, result.stderr) == ("0\nTrue 101 1 101\n", "")


@pytest.mark.parametrize("url_of", ["memory:", "sqlite"])
def test_a_child_has_no_subscriptions_until_it_subscribes(url_of, sqlite_url):
    result = run(
        forking(
            """
            bus.on("a.b", print, name="h")
            bus.start()
            pid = os.fork()
            if pid == 0:
                import threading
                alone = threading.active_count() == 1 and not bus.health().subscriptions
                bus.start()
                ok = alone and len(bus.health().subscriptions) == 1 and bus.close()
                os._exit(0 if ok else 1)
            print(os.waitpid(pid, 0)[1], len(bus.health().subscriptions), bus.close())
            """
        ),
        sqlite_url if url_of == "sqlite" else url_of,
    )
    assert (result.stdout, result.stderr) == ("0 1 True\n", "")


def test_what_was_closed_stays_closed_in_a_child(url):
    result = run(
        forking(
            """
            bus.close()
            pid = os.fork()
            if pid == 0:
                try:
                    bus.publish("a.b")
                except BusClosedError:
                    os._exit(0)
                os._exit(1)
            print(os.waitpid(pid, 0)[1])
            """
        ),
        url,
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_a_child_forked_in_a_handler_does_not_go_on_handling(sqlite_url):
    """Where it returns from the handler, the parent's loop is not to run there."""
    result = run(
        forking(
            """
            parent, children = os.getpid(), []
            def handle(event):
                os.write(1, f"{event.payload} {os.getpid() == parent}\\n".encode())
                if event.payload == 0:
                    pid = os.fork()
                    if pid:
                        children.append(pid)
            bus.subscribe("a.b", handle, name="h")
            bus.publish_many([("a.b", n) for n in range(20)])
            bus.join(10)
            print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
            print(bus.close())
            """
        ),
        sqlite_url,
    )
    lines = result.stdout.splitlines()
    assert result.stderr == ""
    assert lines[-2:] == ["[0]", "True"]
    assert sorted(lines[:-2]) == sorted(f"{n} True" for n in range(20))


def test_no_client_of_the_parent_is_finalized_in_the_child(sqlite_url):
    """Most clients say goodbye on the socket when they are collected: it is the parent's."""
    result = run(
        forking(
            """
            class Client:
                def __init__(self):
                    self.pid = os.getpid()
                # Names of the module are gone by then.
                def __del__(self, write=os.write, getpid=os.getpid):
                    if getpid() != self.pid:
                        write(1, b"goodbye\\n")
            bus.publish("a.b")
            transport = bus._engine.transport
            # `forget` drops what stands in the place of the connection.
            transport._main, connection = Client(), transport._main
            pid = os.fork()
            if pid == 0:
                del transport
                bus.publish("a.b", "child")
                sys.exit(0)
            os.waitpid(pid, 0)
            transport._main = connection
            print(bus.close())
            """
        ),
        sqlite_url,
    )
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_a_child_forked_while_others_open_and_close_the_file_publishes(sqlite_url):
    """SQLite has locks for the whole process; a child would wait for them for ever."""
    result = run(
        forking(
            """
            over = threading.Event()

            def open_and_close():
                while not over.is_set():
                    with EventBus(sys.argv[1], group="other", environ={}) as other:
                        other.publish("a.c")

            bus.publish("a.b", "parent")
            threads = [threading.Thread(target=open_and_close) for _ in range(2)]
            for thread in threads:
                thread.start()
            codes = set()
            for n in range(100):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(10)
                    bus.publish("a.b", n)
                    os._exit(0)
                codes.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            over.set()
            for thread in threads:
                thread.join()
            print(codes, bus.close())
            """
        ),
        sqlite_url,
    )
    assert (result.stdout, result.stderr) == ("{0} True\n", "")


MODULE = """
import multiprocessing, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from eventbus import EventBus

bus = EventBus(os.environ["URL"], group="g", environ={})


def work(n):
    bus.publish("a.b", n)
    for more in range(50):
        bus.publish_soon("a.b", n + more + 1)


def main(method):
    context = multiprocessing.get_context(method)
    seen = []
    bus.subscribe("a.b", lambda event: seen.append(event.payload), name="h")
    bus.publish("a.b", 0)
    children = [context.Process(target=work, args=(100 * n,)) for n in range(1, 5)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print([child.exitcode for child in children])
    with context.Pool(2) as pool:
        pool.map(work, [1000, 2000])
        pool.close()
        pool.join()
    print(bus.join(20), len(seen), len(set(seen)), bus.close())


if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_publish(tmp_path: Path, sqlite_url, method):
    """They run no `atexit` hooks; what they gave to `publish_soon` is sent all the same."""
    (tmp_path / "service.py").write_text(MODULE)
    result = run(
        "import runpy, sys; sys.argv[0] = sys.argv.pop(1);"
        " runpy.run_path(sys.argv[0], run_name='__main__')",
        str(tmp_path / "service.py"), method,
        environ={"URL": sqlite_url, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )
    assert result.stderr == ""
    assert result.stdout == f"[0, 0, 0, 0]\nTrue {1 + 6 * 51} {1 + 6 * 51} True\n"

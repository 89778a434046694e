"""What every test gets: no thread of a bus outlives its test, and no run hangs at its end."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

#: Threads of the library carry this prefix; the check below relies on it.
THREAD_PREFIX = "eventbus-"

#: Seconds a closed bus gets to let its threads end; a clean one needs milliseconds.
GRACE = 5.0

#: Seconds the interpreter gets to end after the last test, before it prints all stacks and exits 1.
EXIT_GRACE = 60.0

# Hypothesis' own deadline of 200 ms per example measures the machine, not the code.
hypothesis.settings.register_profile("eventbus", deadline=None, print_blob=True)
hypothesis.settings.load_profile("eventbus")


# In the background of a script, SIGINT is ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Their tests share servers, and empty them: those of one server run one after the other.
SHARING = ("tests/conformance/", "tests/transports/")
#: The slowest come first, or one of those that run side by side would be left alone with them.
FIRST = ("tests/faults/", *SHARING)

_servers = re.compile(r"(?:^|[_/\[-])(kafka|nats|postgres|rabbitmq|redis)(?=[\]_.-]|$)")


def _scope(nodeid: str) -> str:
    """What runs in one piece: the tests of a server, or a file, whose fixtures may be servers."""
    file, _, test = nodeid.partition("::")
    found = _servers.findall(test[test.find("[") :]) or _servers.findall(file)
    if not found or not file.startswith(FIRST):
        return file
    return f"{'shared' if file.startswith(SHARING) else 'hurt'} {found[0]}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [not item.nodeid.startswith(place) for place in FIRST])


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that a failed test left behind must not keep the whole run from ending."""
    faulthandler.dump_traceback_later(EXIT_GRACE, exit=True, file=sys.__stderr__)


@pytest.fixture(autouse=True)
def no_bus_threads_left() -> Iterator[None]:
    """Fails a test after which a thread of the library is still alive."""
    before = _bus_threads()

    yield

    left = _wait_until_empty(lambda: _bus_threads() - before)
    if left:
        pytest.fail(f"left behind: {_stacks(left)}", pytrace=False)


@pytest.fixture
def leak_free() -> Iterator[None]:
    """Fails a test after which *any* thread or open file is still there that was not before."""
    threads, files = set(threading.enumerate()), _open_files()

    yield

    left = _wait_until_empty(lambda: set(threading.enumerate()) - threads)
    if left:
        pytest.fail(f"left behind: {_stacks(left)}", pytrace=False)
    open_files = _wait_until_empty(lambda: _open_files() - files)
    if open_files:
        names = ", ".join(f"{number} -> {target}" for number, target in sorted(open_files))
        pytest.fail(f"left open: {names}", pytrace=False)


def _bus_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)}


def _open_files() -> set[tuple[int, str]]:
    """File descriptors and what they point to; empty where the system does not tell."""
    found = set()
    directory = Path("/proc/self/fd")
    for entry in os.listdir(directory) if directory.is_dir() else ():
        try:
            found.add((int(entry), os.readlink(directory / entry)))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


def _wait_until_empty(observe: Callable[[], set]) -> set:
    deadline = time.monotonic() + GRACE
    while (found := observe()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def _stacks(threads: set[threading.Thread]) -> str:
    """Each thread's name and where it is now."""
    frames = sys._current_frames()
    lines = []
    for thread in sorted(threads, key=lambda thread: thread.name):
        frame = frames.get(thread.ident)
        where = "".join(traceback.format_stack(frame)) if frame else "  (ended just now)\n"
        lines.append(f"{thread.name}{' (daemon)' if thread.daemon else ''}\n{where}")
    return "\n".join(lines)

"""Interpreter exit and fork, for all buses of the process.

At exit Python first runs the `threading` exit callbacks (where `concurrent.futures` joins its
workers), then joins non-daemon threads, then runs `atexit` hooks. Handling must stop in the first
step; publishing must work until the last. The first step is a private name of CPython, so
everything also works, a little later, without it: a refused submit tells the dispatcher.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread as futures_thread
import os
import threading
import weakref
from typing import Protocol

from .engine import Engine

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
#: Engines of the parent process, kept so that nothing of theirs is ever closed in the child.
_abandoned: list[Engine] = []


class Owner(Protocol):
    """Whoever needs a new engine in a forked child."""

    def _after_fork(self) -> None: ...


def register(owner: Owner, engine: Engine) -> None:
    """Watch over an engine until it is closed or collected."""
    _owners.add(owner)
    _engines.add(engine)


def unregister(engine: Engine) -> None:
    _engines.discard(engine)


def abandon(engine: Engine) -> None:
    """In a forked child: never touch the parent's engine again."""
    engine.transport.forget()
    _abandoned.append(engine)


def _stop_handling() -> None:
    """Let running handlers finish, up to their bus's `close_timeout`; never raise."""
    engines = list(_engines)
    for engine in engines:
        try:
            engine.finish_handling()
        except BaseException:  # An escaping error would skip Python's own hooks.
            continue
    for engine in engines:
        _leave_behind(engine)


def _leave_behind(engine: Engine) -> None:
    """Python would wait for ever for a worker whose handler does not end."""
    queues = getattr(futures_thread, "_threads_queues", None)
    if queues is None:
        return
    stuck = set(engine.dispatcher.running)
    for thread in list(queues):
        if thread.ident in stuck and thread.daemon:
            queues.pop(thread, None)


def _finish() -> None:
    for engine in list(_engines):
        engine.finish_handling()
        engine.soon.flush(engine.config.publish_timeout)


def _after_fork_in_child() -> None:
    _engines.clear()
    for owner in list(_owners):
        owner._after_fork()


_early = getattr(threading, "_register_atexit", None)
if _early is not None:
    _early(_stop_handling)
atexit.register(_finish)
os.register_at_fork(after_in_child=_after_fork_in_child)

"""Interpreter exit and fork, for all buses of the process.

At exit Python first runs the `threading` exit callbacks (where `concurrent.futures` joins its
workers), then joins non-daemon threads, then runs `atexit` hooks. Handling must stop in the first
step; publishing must work until the last. The first step is a private name of CPython, so
everything also works, a little later, without it: a refused submit tells the dispatcher.

A child of `multiprocessing` runs the first step only.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread as futures_thread
import os
import threading
import weakref
from collections.abc import Callable
from operator import methodcaller
from typing import Any, Protocol

from .engine import Engine

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
#: Engines of the parent process, kept so that nothing of theirs is ever closed in the child.
_abandoned: list[Engine] = []
#: What their transports had open.
_inherited: list[object] = []
#: Engines that could not send what was queued in time: one wait for that is enough.
_unsent: weakref.WeakSet[Engine] = weakref.WeakSet()
_exiting = False


class Owner(Protocol):
    """Whoever needs a new engine in a forked child."""

    def _after_fork(self) -> None: ...


def register(owner: Owner, engine: Engine) -> None:
    """Watch over an engine until it is closed or collected."""
    _owners.add(owner)
    _engines.add(engine)
    if _exiting:
        # A bus that is made in somebody's exit hook can publish; nobody would handle any more.
        engine.stop_handling()


def unregister(engine: Engine) -> None:
    _engines.discard(engine)


# -- exit --------------------------------------------------------------------------------------


def _exit_begins() -> None:
    global _exiting
    _exiting = True
    _stop_handling()
    # Already here: a child of `multiprocessing` runs no `atexit` hooks.
    _flush()


def _exit_ends() -> None:
    global _exiting
    _exiting = True
    _finish()
    _keep_for_ever()


def _stop_handling() -> None:
    """Let running handlers finish, up to their bus's `close_timeout`; never raise."""
    engines = list(_engines)
    # All of them before any is waited for: their time is the same time.
    for step in (methodcaller("stop_handling"), methodcaller("finish_handling"), _leave_behind):
        for engine in engines:
            _quietly(step, engine)


def _quietly(step: Callable[[Engine], object], engine: Engine) -> None:
    try:
        step(engine)
    except BaseException:  # An escaping error would skip Python's own hooks.
        return


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
    """The last thing of ours that runs; users' hooks that were registered earlier come later."""
    for engine in list(_engines):
        _quietly(methodcaller("send_at_once"), engine)
    _stop_handling()
    _flush()


def _flush() -> None:
    for engine in list(_engines):
        _quietly(_flush_one, engine)


def _flush_one(engine: Engine) -> None:
    if engine not in _unsent and not engine.soon.flush(engine.config.publish_timeout):
        _unsent.add(engine)


# -- fork --------------------------------------------------------------------------------------


def abandon(engine: Engine) -> None:
    """In a forked child: never touch the parent's engine again."""
    _inherited.append(dict(getattr(engine.transport, "__dict__", {})))
    engine.transport.forget()
    _abandoned.append(engine)


def _after_fork_in_child() -> None:
    global _engines, _owners
    owners = list(_owners)
    # Anew: a thread of the parent may have been in the middle of changing them.
    _engines, _owners = weakref.WeakSet(), weakref.WeakSet()
    for owner in owners:
        owner._after_fork()


def _keep_for_ever() -> None:
    """Let no client of the parent be finalized: most of them say goodbye on its socket."""
    if not _abandoned:
        return
    try:
        import ctypes

        increase: Any = ctypes.pythonapi.Py_IncRef
        for kept in (_abandoned, _inherited):
            increase(ctypes.py_object(kept))
    except (ImportError, AttributeError):
        return


_early = getattr(threading, "_register_atexit", None)
if _early is not None:
    _early(_exit_begins)
atexit.register(_exit_ends)
os.register_at_fork(after_in_child=_after_fork_in_child)

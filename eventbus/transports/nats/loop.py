"""The client's event loop, which runs in whatever thread waits for it, and only then.

So a publish costs no switch between threads, nothing has to be started or joined, and publishing
works until the very end of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
import threading
import weakref
from atexit import register
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Seconds that cancelled tasks get to end.
LAST_WORDS = 0.2
#: Bytes read at once. For the 256 KiB that asyncio makes room for, malloc maps memory each time:
#: a sixteenth of the time of one publish.
READ = 64 * 1024


_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


@register
def _abandon_all() -> None:
    """At exit tasks that were never ended would complain, each in its own way."""
    for loop in list(_loops):
        loop.abandon()


class Expired(Exception):
    """The time for an operation is over."""


def _refuse(data: object) -> None:
    raise PlainText


class PlainText(Exception):
    """Something was to be sent before the connection was encrypted."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop for one connection.

    Args:
        encrypt: refuse to send anything in the clear. The client itself would send its password
            to a server that does not ask for TLS.
    """

    def __init__(self, encrypt: bool = False) -> None:
        # Not epoll: its table would be shared with forked children.
        selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
        super().__init__(selector())
        self._connections: list[asyncio.BaseTransport] = []
        self._owner = os.getpid()
        self._task: asyncio.Task[Any] | None = None
        self._encrypt = encrypt
        # What goes wrong in the client's tasks ends the connection, which is noticed and told.
        self.set_exception_handler(lambda loop, context: None)
        # An application that debugs its own loop does not want to hear of this one.
        self.set_debug(False)
        _loops.add(self)

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        # In this thread: the usual executor cannot be used while the interpreter ends.
        return socket.getaddrinfo(host, port, **hints)

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        transport, protocol = await super().create_connection(*args, **options)
        self._connections.append(transport)
        vars(transport)["max_size"] = READ
        if self._encrypt:
            vars(transport).update(write=_refuse, writelines=_refuse)
        return transport, protocol

    async def start_tls(self, transport: Any, *args: Any, **options: Any) -> Any:
        for name in ("write", "writelines"):
            vars(transport).pop(name, None)
        encrypted = await super().start_tls(transport, *args, **options)
        if encrypted is not None:
            self._connections.append(encrypted)
        return encrypted

    def write(self, data: bytes) -> None:
        """Send through the connection; it keeps what the socket does not take at once."""
        connection = self._connections[-1]
        if isinstance(connection, asyncio.WriteTransport) and not connection.is_closing():
            connection.write(data)

    def interrupt(self) -> None:
        """Cancel what is being waited for."""
        if self._task is not None:
            self._task.cancel()

    def drive(self, work: Coroutine[Any, Any, Result], timeout: float) -> Result:
        """Run until the work is done.

        Raises:
            Expired: it takes longer than `timeout` seconds, or was interrupted.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._drive(work, timeout)
        # Called from inside an asynchronous application, where no other loop may run.
        return self._drive_elsewhere(work, timeout)

    def _drive(self, work: Coroutine[Any, Any, Result], timeout: float) -> Result:
        self._task = task = self.create_task(work)
        expiry = self.call_later(timeout, task.cancel)
        try:
            return self.run_until_complete(task)
        except asyncio.CancelledError:
            raise Expired from None
        finally:
            expiry.cancel()
            self._task = None
            if not task.done():
                task.cancel()

    def _drive_elsewhere(self, work: Coroutine[Any, Any, Result], timeout: float) -> Result:
        outcome: list[Any] = []

        def body() -> None:
            try:
                outcome.append((self._drive(work, timeout), None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=body, name="eventbus-nats-publish", daemon=True)
        thread.start()
        thread.join()
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def abandon(self) -> None:
        """Drop the connection and everything that waits for it; does not wait for the network."""
        if self.is_closed() or self.is_running():
            return
        if os.getpid() != self._owner:
            self.detach()
        for connection in self._connections:
            if isinstance(connection, asyncio.WriteTransport):
                connection.abort()
        with contextlib.suppress(Exception):
            self.drive(self._end_tasks(), 2 * LAST_WORDS)
        self.close()

    async def _end_tasks(self) -> None:
        rest = asyncio.all_tasks(self) - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=LAST_WORDS)
        # Aborted connections close their sockets in the next turn.
        await asyncio.sleep(0)

    def detach(self) -> None:
        """In a forked child: let go of the parent's sockets, so that nothing can write to them."""
        if self._owner == os.getpid() or self.is_closed():
            return
        self._owner = os.getpid()
        sockets = [one.get_extra_info("socket") for one in self._connections]
        # The loop wakes itself up through a pair that the child would share as well.
        sockets += [getattr(self, "_ssock", None), getattr(self, "_csock", None)]
        for one in sockets:
            if one is not None and one.fileno() >= 0:
                nobody, other = socket.socketpair()
                nobody.setblocking(False)
                os.dup2(nobody.fileno(), one.fileno(), inheritable=False)
                nobody.close()
                other.close()

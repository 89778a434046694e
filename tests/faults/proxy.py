"""A TCP relay that can turn into a black hole: connections stay open, nothing passes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

#: Seconds between two looks at whether bytes may pass again.
POLL = 0.01


class Proxy:
    """Relays one port, through a given one or any; used as a context manager."""

    def __init__(self, port: int, through: int = 0) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", through))
        self._sockets: list[socket.socket] = [self._listener]
        self._open = threading.Event()
        self._open.set()
        self._closed = False

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def swallow(self) -> None:
        """From now on nothing passes, in either direction; new connections are accepted."""
        self._open.clear()

    def release(self) -> None:
        """Let everything pass again, also what was held back."""
        self._open.set()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._open.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(
                    target=self._relay, args=(source, target), name="proxy", daemon=True
                ).start()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                while not self._open.is_set() and not self._closed:
                    time.sleep(POLL)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

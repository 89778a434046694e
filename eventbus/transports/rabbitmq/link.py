"""Making connections: to the first host that lets us in."""

from __future__ import annotations

import socket
from time import monotonic
from typing import Any

from pika import spec

from ... import __name__ as PRODUCT
from ...errors import AuthenticationError, ConfigurationError, TransportError
from .address import Address, parse
from .connection import Connection
from .errors import lost

#: Seconds between two signs of life on connections that are only used now and then. The server
#: drops what is silent for twice that, and the next use connects again.
RARE_HEARTBEAT = 600
#: Socket options that let the system notice a peer that has vanished from the network.
_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}


class Connector:
    """Makes connections to the hosts of one URL; does no I/O itself."""

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        self._first = 0
        self.name = self._address.name

    def connect(self, timeout: float | None = None, *, rare: bool = False) -> Connection:
        """Connect to the host that answered last, or to the next one.

        Args:
            timeout: seconds for all of it.
            rare: used from time to time only, without a thread that could send heartbeats.
        """
        address = self._address
        longest = address.connect_timeout
        deadline = monotonic() + (longest if timeout is None else min(timeout, longest))
        error: TransportError = lost(self.name, "no host", "failed")
        count = len(address.hosts)
        for offset in range(count):
            index = (self._first + offset) % count
            share = (deadline - monotonic()) / (count - offset)
            try:
                made = _open(address, address.hosts[index], monotonic() + share, rare)
            except (AuthenticationError, ConfigurationError):
                raise
            except TransportError as failure:
                error = failure
            else:
                self._first = index
                return made
        raise error


def _open(address: Address, host: tuple[str, int], deadline: float, rare: bool) -> Connection:
    connection = None
    try:
        sock = socket.create_connection(host, max(0.05, deadline - monotonic()))
        sock.settimeout(max(0.05, deadline - monotonic()))
        _tune(sock)
        if address.tls is not None:
            name = address.server_name or host[0]
            sock = address.tls.wrap_socket(sock, server_hostname=name)
        connection = Connection(sock, address.name)
        _shake_hands(connection, address, deadline, rare)
    except OSError as error:
        raise lost(address.name, f"{host[0]}:{host[1]}: {error}", "failed") from None
    except TransportError as error:
        error.outcome = "failed"
        raise
    return connection


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _shake_hands(
    connection: Connection, address: Address, deadline: float, rare: bool
) -> None:
    connection.write(b"AMQP\x00\x00\x09\x01")
    start = connection.answer(deadline)
    connection.server = dict(start.server_properties or {})
    secret = f"\0{address.user}\0{address.password}"
    connection.write_method(0, spec.Connection.StartOk(_about_us(), "PLAIN", secret, "en_US"))
    tune = connection.answer(deadline)
    connection.frame_max = min(tune.frame_max or 131_072, 131_072)
    heartbeat = RARE_HEARTBEAT if rare else address.heartbeat
    connection.write_method(
        0, spec.Connection.TuneOk(tune.channel_max, connection.frame_max, heartbeat)
    )
    connection.write_method(0, spec.Connection.Open(address.vhost))
    connection.answer(deadline)
    connection.heartbeat = float(heartbeat)


def _about_us() -> dict[str, Any]:
    able = ("authentication_failure_close", "basic.nack", "connection.blocked",
            "consumer_cancel_notify", "publisher_confirms")
    return {"product": PRODUCT, "capabilities": dict.fromkeys(able, True)}

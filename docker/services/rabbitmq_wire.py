"""As much of AMQP 0-9-1 as it takes to see that the broker lets a client in."""

from __future__ import annotations

import socket
import struct

from .certificates import Certificates
from .errors import ServerError
from .sockets import connect, read_exactly

CONNECTION = 10
START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK = 10, 11, 30, 31, 40, 41
CLOSE, CLOSE_OK = 50, 51


def ping(port: int, user: str, password: str, tls: Certificates | None) -> None:
    """Open a connection to the virtual host `/`."""
    with connect(port, tls) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        _expect(connection, START)
        _send(connection, START_OK, _login(user, password))
        limits = _expect(connection, TUNE)
        _send(connection, TUNE_OK, limits[:8])
        _send(connection, OPEN, _short(b"/") + b"\0\0")
        _expect(connection, OPEN_OK)
        # The broker logs a warning about clients that just hang up.
        _send(connection, CLOSE, struct.pack("!H", 200) + _short(b"") + b"\0\0\0\0")
        _expect(connection, CLOSE_OK)


def _login(user: str, password: str) -> bytes:
    """No properties of the client, the mechanism, user and password, the language."""
    secret = b"\0" + user.encode() + b"\0" + password.encode()
    return _long(b"") + _short(b"PLAIN") + _long(secret) + _short(b"en_US")


def _send(connection: socket.socket, method: int, arguments: bytes) -> None:
    payload = struct.pack("!HH", CONNECTION, method) + arguments
    connection.sendall(struct.pack("!BHI", 1, 0, len(payload)) + payload + b"\xce")


def _expect(connection: socket.socket, method: int) -> bytes:
    _, _, length = struct.unpack("!BHI", read_exactly(connection, 7))
    payload = read_exactly(connection, length + 1)[:-1]
    if struct.unpack("!HH", payload[:4]) != (CONNECTION, method):
        text = payload[7:].decode(errors="replace") if payload[3] == CLOSE else repr(payload[:4])
        raise ServerError(f"rabbitmq answers {text}")
    return payload[4:]


def _short(text: bytes) -> bytes:
    return struct.pack("!B", len(text)) + text


def _long(text: bytes) -> bytes:
    return struct.pack("!I", len(text)) + text

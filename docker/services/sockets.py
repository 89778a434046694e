"""Connections of the ready checks."""

from __future__ import annotations

import socket
import ssl

from .certificates import Certificates
from .errors import ServerError
from .places import HOST

#: Seconds that each step of a ready check may take.
PATIENCE = 2.0


def connect(port: int, tls: Certificates | None = None) -> socket.socket:
    """A connection, encrypted from the first byte if there are certificates."""
    plain = socket.create_connection((HOST, port), PATIENCE)
    return plain if tls is None else encrypt(plain, tls)


def encrypt(plain: socket.socket, tls: Certificates) -> socket.socket:
    """Go on encrypted; the server's certificate must be one of our authority."""
    context = ssl.create_default_context(cafile=str(tls.ca))
    return context.wrap_socket(plain, server_hostname=HOST)


def read_exactly(connection: socket.socket, number: int) -> bytes:
    """So many bytes; a server that hangs up before is an error."""
    data = b""
    while len(data) < number:
        part = connection.recv(number - len(data))
        if not part:
            raise ServerError("the server has closed the connection")
        data += part
    return data

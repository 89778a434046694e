"""As much of PostgreSQL's protocol as it takes to see that the server answers."""

from __future__ import annotations

import socket
import struct

from .certificates import Certificates
from .errors import ServerError
from .sockets import connect, encrypt, read_exactly

PROTOCOL = 3 << 16
SSL_REQUEST = 80877103


def ping(port: int, user: str, tls: Certificates | None) -> None:
    """Get as far as the question for the password.

    A server that starts, recovers or shuts down refuses before that.
    """
    with connect(port) as plain:
        if tls:
            plain.sendall(struct.pack("!II", 8, SSL_REQUEST))
            if read_exactly(plain, 1) != b"S":
                raise ServerError("postgres does not speak TLS")
        with encrypt(plain, tls) if tls else plain as connection:
            words = f"user\0{user}\0database\0{user}\0\0".encode()
            connection.sendall(struct.pack("!II", 8 + len(words), PROTOCOL) + words)
            kind, text = _message(connection)
    if kind != b"R":
        raise ServerError(f"postgres answers {_readable(text)}")


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!cI", read_exactly(connection, 5))
    return kind, read_exactly(connection, length - 4)


def _readable(error: bytes) -> str:
    """The message among the fields of an error."""
    fields = error.split(b"\0")
    texts = [field[1:].decode(errors="replace") for field in fields if field.startswith(b"M")]
    return texts[0] if texts else "something else than a question for the password"

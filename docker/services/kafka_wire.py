"""As much of Kafka's protocol as it takes to see that records are stored and groups served."""

from __future__ import annotations

import socket
import struct

from .certificates import Certificates
from .errors import ServerError
from .sockets import connect, read_exactly

#: Never among the topics of an application.
TOPIC = "_eventbus.ready"
#: Milliseconds the broker may take.
PATIENCE = 1500
PRODUCE, FIND_COORDINATOR, DESCRIBE_GROUPS, HANDSHAKE, CREATE_TOPICS, AUTHENTICATE = (
    0, 10, 15, 17, 19, 36,
)  # fmt: skip
TOPIC_EXISTS = 36


def ping(port: int, login: tuple[str, str] | None, tls: Certificates | None) -> None:
    """Store a record, and ask for a group: each comes up later than the port."""
    with connect(port, tls) as connection:
        if login:
            _log_in(connection, *login)
        topics = struct.pack("!i", 1) + _string(TOPIC) + struct.pack("!ihii", 1, 1, 0, 0)
        answer = _ask(connection, CREATE_TOPICS, 2, topics + struct.pack("!i?", PATIENCE, False))
        _check("topic", _number("!h", answer, 8 + _text_length(answer, 8)), TOPIC_EXISTS)
        answer = _ask(connection, PRODUCE, 3, _produce(b"ready"))
        _check("record", _number("!h", answer, 4 + _text_length(answer, 4) + 8))
        answer = _ask(connection, FIND_COORDINATOR, 0, _string(TOPIC))
        _check("coordinator", _number("!h", answer, 0))
        answer = _ask(connection, DESCRIBE_GROUPS, 0, struct.pack("!i", 1) + _string(TOPIC))
        _check("group", _number("!h", answer, 4))


def _log_in(connection: socket.socket, user: str, password: str) -> None:
    answer = _ask(connection, HANDSHAKE, 1, _string("PLAIN"))
    _check("mechanism", _number("!h", answer, 0))
    token = f"\0{user}\0{password}".encode()
    answer = _ask(connection, AUTHENTICATE, 0, struct.pack("!i", len(token)) + token)
    _check("login", _number("!h", answer, 0))


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack("!hhi", api, version, 1) + _string("ready") + body
    connection.sendall(struct.pack("!i", len(request)) + request)
    (length,) = struct.unpack("!i", read_exactly(connection, 4))
    return read_exactly(connection, length)[4:]


def _check(what: str, code: int, harmless: int = 0) -> None:
    if code not in (0, harmless):
        raise ServerError(f"kafka answers with error {code} about the {what}")


def _produce(value: bytes) -> bytes:
    """A request to store one record and to answer when it is stored."""
    batch = _batch(value)
    partition = struct.pack("!iii", 1, 0, len(batch)) + batch
    head = struct.pack("!hhii", -1, -1, PATIENCE, 1)
    return head + _string(TOPIC) + partition


def _batch(value: bytes) -> bytes:
    # Attributes, both deltas, no key, the value, no headers; small numbers doubled (zigzag).
    record = bytes([0, 0, 0, 1, 2 * len(value)]) + value + b"\0"
    records = bytes([2 * len(record)]) + record
    body = struct.pack("!hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + records
    return struct.pack("!qiibI", 0, 9 + len(body), -1, 2, _crc32c(body)) + body


def _crc32c(data: bytes) -> int:
    """The Castagnoli checksum, bit by bit: there are few bytes, and zlib has another one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _string(text: str) -> bytes:
    return struct.pack("!h", len(text)) + text.encode()


def _text_length(answer: bytes, offset: int) -> int:
    return 2 + _number("!h", answer, offset)


def _number(kind: str, answer: bytes, offset: int) -> int:
    return struct.unpack_from(kind, answer, offset)[0]

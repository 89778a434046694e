"""A connection to RabbitMQ, with nothing but a socket at its other end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic

import pytest
from pika import frame

from eventbus import TransportUnavailable
from eventbus.transports.rabbitmq.connection import Connection


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    connection = Connection(ours, "server")
    yield connection, theirs
    connection.fail(TransportUnavailable("over"))
    theirs.close()


def test_what_has_come_while_this_process_stood_still_is_in_time(
    ends: tuple[Connection, socket.socket]
) -> None:
    connection, server = ends
    server.sendall(frame.Heartbeat().marshal())
    past = monotonic() - 1.0

    connection.pump_until(past)
    with pytest.raises(TransportUnavailable, match="no answer of the server in time"):
        connection.pump_until(past)

    assert not connection.usable


@pytest.mark.parametrize(
    ("sent", "told"),
    [(b"HTTP/1.1 400 Bad Request", "no AMQP frame"), (b"", "the server has closed")],
)
def test_what_is_no_amqp_ends_it(
    ends: tuple[Connection, socket.socket], sent: bytes, told: str
) -> None:
    connection, server = ends
    server.sendall(sent)
    server.shutdown(socket.SHUT_WR)

    with pytest.raises(TransportUnavailable, match=told):
        while True:
            connection.pump(1.0)


def test_a_server_that_reads_nothing_ends_it(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    connection.write(b"x" * 10_000_000)

    with pytest.raises(TransportUnavailable, match="does not read what is sent"):
        connection.flush(monotonic() + 0.05)

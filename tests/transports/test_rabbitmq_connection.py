"""A connection to RabbitMQ, with nothing but a socket at its other end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
from pika import frame, spec

from eventbus import TransportUnavailable
from eventbus.transports.rabbitmq.connection import Connection
from eventbus.transports.rabbitmq.frames import Outgoing, properties
from eventbus.transports.rabbitmq.pipeline import NotConfirmed, Pipeline
from eventbus.transports.rabbitmq.sender import Sender


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


@pytest.mark.parametrize("confirmed", [2, 1])
def test_what_is_confirmed_as_the_server_goes_is_stored(
    ends: tuple[Connection, socket.socket], confirmed: int
) -> None:
    connection, server = ends
    messages = [Outgoing("events", "a.b", f"{n}", properties(f"{n}"), b"{}") for n in range(2)]
    pipeline = Pipeline(None)  # type: ignore[arg-type]

    def serve() -> None:
        """Confirm some, say goodbye, and be gone before that is answered."""
        for answer in (spec.Channel.OpenOk(), spec.Confirm.SelectOk()):
            server.recv(1_000)
            server.sendall(frame.Method(1, answer).marshal())
        server.recv(1_000)
        ack = frame.Method(1, spec.Basic.Ack(confirmed, multiple=True))
        close = frame.Method(0, spec.Connection.Close(320, "shutdown", 0, 0))
        server.sendall(ack.marshal() + close.marshal())
        server.close()

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        pipeline._sender = Sender(connection)
        if confirmed == len(messages):
            pipeline.send(messages, monotonic() + 5.0)
        else:
            with pytest.raises(NotConfirmed, match="shutdown") as caught:
                pipeline.send(messages, monotonic() + 5.0)
            assert caught.value.batch.prefix() == confirmed
        serving.result()
    with pytest.raises(TransportUnavailable, match="shutdown"):
        connection.check()  # Whoever else uses it hears the same.

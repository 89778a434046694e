"""Write and read one value with the client library that users have."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import nats
import psycopg
import redis
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests.servers import Server

#: Seconds a client waits for anything.
PATIENCE = 5.0


class Client(NamedTuple):
    """Ways to a value that a server must not lose."""

    write: Callable[[Server, str], object]
    #: `None` where there is no value.
    read: Callable[[Server], str | None]


def _redis(server: Server) -> redis.Redis:
    tls = {"ssl_ca_certs": str(server.tls.ca)} if server.tls else {}
    return redis.Redis.from_url(
        server.url, socket_timeout=PATIENCE, decode_responses=True, retry=None, **tls
    )


def redis_write(server: Server, value: str) -> None:
    with _redis(server) as client:
        client.set("value", value)


def redis_read(server: Server) -> str | None:
    with _redis(server) as client:
        return client.get("value")


async def _jetstream(server: Server, use: Callable[[JetStreamContext], Awaitable[str | None]]):
    import ssl

    tls = {"tls": ssl.create_default_context(cafile=str(server.tls.ca))} if server.tls else {}
    client = await nats.connect(
        server.url, connect_timeout=PATIENCE, allow_reconnect=False, **tls
    )
    try:
        return await use(client.jetstream())
    finally:
        await client.close()


def nats_write(server: Server, value: str) -> None:
    async def write(stream: JetStreamContext) -> None:
        await stream.add_stream(name="VALUES", subjects=["value"])
        await stream.publish("value", value.encode())

    asyncio.run(_jetstream(server, write))


def nats_read(server: Server) -> str | None:
    async def read(stream: JetStreamContext) -> str | None:
        try:
            return (await stream.get_last_msg("VALUES", "value")).data.decode()
        except NotFoundError:
            return None

    return asyncio.run(_jetstream(server, read))


def _postgres(server: Server) -> psycopg.Connection:
    return psycopg.connect(server.url, connect_timeout=int(PATIENCE))


def postgres_write(server: Server, value: str) -> None:
    with _postgres(server) as connection:
        connection.execute("create table kept (value text)")
        connection.execute("insert into kept values (%s)", [value])


def postgres_read(server: Server) -> str | None:
    with _postgres(server) as connection:
        if connection.execute("select to_regclass('kept')").fetchone() == (None,):
            return None
        return connection.execute("select value from kept").fetchone()[0]


CLIENTS = {
    "redis": Client(redis_write, redis_read),
    "nats": Client(nats_write, nats_read),
    "postgres": Client(postgres_write, postgres_read),
}

"""Write and read named values with the client libraries that users have."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import nats
import pika
import psycopg
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from tests.servers import Server

#: Seconds a client waits for anything.
PATIENCE = 5.0
#: A topic's leader may be known only some time after the topic.
KAFKA_PATIENCE = 20.0


class Client(NamedTuple):
    """Ways to a value that a server must not lose. Each name is written to once."""

    write: Callable[[Server, str, str], object]
    #: `None` where there is no value of that name.
    read: Callable[[Server, str], str | None]


def _redis(server: Server) -> redis.Redis:
    tls = {"ssl_ca_certs": str(server.tls.ca)} if server.tls else {}
    return redis.Redis.from_url(
        server.url, socket_timeout=PATIENCE, decode_responses=True, retry=None, **tls
    )


def redis_write(server: Server, name: str, value: str) -> None:
    with _redis(server) as client:
        client.set(name, value)


def redis_read(server: Server, name: str) -> str | None:
    with _redis(server) as client:
        return client.get(name)


async def _jetstream(server: Server, use: Callable[[JetStreamContext], Awaitable[str | None]]):
    tls = {"tls": ssl.create_default_context(cafile=str(server.tls.ca))} if server.tls else {}
    # The client takes a password from a URL as it stands there, percent signs included.
    login = {"user": "bus", "password": server.password} if server.password else {}
    address = server.url.replace(urlsplit(server.url).netloc, f"127.0.0.1:{server.port}")
    client = nats.NATS()
    try:
        await client.connect(
            address, connect_timeout=PATIENCE, allow_reconnect=False, **tls, **login
        )
        return await use(client.jetstream())
    finally:
        await client.close()
        # A refused client leaves its socket to the garbage collector.
        if client._transport is not None:
            client._transport.close()
        await asyncio.sleep(0)


def nats_write(server: Server, name: str, value: str) -> None:
    async def write(stream: JetStreamContext) -> None:
        await stream.add_stream(name=name, subjects=[name])
        await stream.publish(name, value.encode())

    asyncio.run(_jetstream(server, write))


def nats_read(server: Server, name: str) -> str | None:
    async def read(stream: JetStreamContext) -> str | None:
        try:
            return (await stream.get_last_msg(name, name)).data.decode()
        except NotFoundError:
            return None

    return asyncio.run(_jetstream(server, read))


def _postgres(server: Server) -> psycopg.Connection:
    return psycopg.connect(server.url, connect_timeout=int(PATIENCE))


def postgres_write(server: Server, name: str, value: str) -> None:
    with _postgres(server) as connection:
        connection.execute(f"create table {name} (value text)")
        connection.execute(f"insert into {name} values (%s)", [value])


def postgres_read(server: Server, name: str) -> str | None:
    with _postgres(server) as connection:
        if connection.execute("select to_regclass(%s)", [name]).fetchone() == (None,):
            return None
        return connection.execute(f"select value from {name}").fetchone()[0]


@contextmanager
def _rabbitmq(server: Server) -> Iterator[BlockingChannel]:
    parameters = pika.URLParameters(server.url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = PATIENCE
    if server.tls:
        context = ssl.create_default_context(cafile=str(server.tls.ca))
        parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        connection.close()


def rabbitmq_write(server: Server, name: str, value: str) -> None:
    with _rabbitmq(server) as channel:
        channel.confirm_delivery()
        # Of 3.10, a quorum queue that is younger than a second does not come back from SIGKILL.
        channel.queue_declare(name, durable=True)
        lasting = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        channel.basic_publish("", name, value.encode(), lasting, mandatory=True)


def rabbitmq_read(server: Server, name: str) -> str | None:
    with _rabbitmq(server) as channel:
        try:
            _, _, body = channel.basic_get(name, auto_ack=False)
        except ChannelClosedByBroker as error:
            assert error.reply_code == 404
            return None
        return body.decode() if body is not None else None


def _kafka(server: Server) -> dict[str, object]:
    settings: dict[str, object] = {
        "bootstrap.servers": server.url,
        "security.protocol": server.protocol,
        "allow.auto.create.topics": False,
        # One that is not collected yet would write into another test's output.
        "log_level": 0,
    }
    if server.tls:
        settings["ssl.ca.location"] = str(server.tls.ca)
    if server.password:
        settings |= {"sasl.mechanism": "PLAIN", "sasl.username": "bus"}
        settings["sasl.password"] = server.password
    return settings


def kafka_write(server: Server, name: str, value: str) -> None:
    admin = AdminClient(_kafka(server))
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(KAFKA_PATIENCE)
    failed: list[object] = []
    producer = Producer({**_kafka(server), "acks": "all"})
    producer.produce(name, value, on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(KAFKA_PATIENCE) == 0
    assert failed == [None]


def kafka_read(server: Server, name: str) -> str | None:
    if name not in AdminClient(_kafka(server)).list_topics(timeout=KAFKA_PATIENCE).topics:
        return None
    consumer = Consumer({**_kafka(server), "group.id": "g"})
    try:
        consumer.assign([TopicPartition(name, 0, 0)])
        message = consumer.poll(KAFKA_PATIENCE)
        return message.value().decode() if message is not None else None
    finally:
        consumer.close()


def write(server: Server, name: str, value: str) -> None:
    """Return when the server has confirmed it."""
    CLIENTS[server.name].write(server, name, value)


def read(server: Server, name: str) -> str | None:
    return CLIENTS[server.name].read(server, name)


CLIENTS = {
    "redis": Client(redis_write, redis_read),
    "nats": Client(nats_write, nats_read),
    "rabbitmq": Client(rabbitmq_write, rabbitmq_read),
    "kafka": Client(kafka_write, kafka_read),
    "postgres": Client(postgres_write, postgres_read),
}

"""Write and read one value with the client library that users have."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

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


def rabbitmq_write(server: Server, value: str) -> None:
    with _rabbitmq(server) as channel:
        channel.confirm_delivery()
        # Of 3.10, a quorum queue that is younger than a second does not come back from SIGKILL.
        channel.queue_declare("values", durable=True)
        lasting = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
        channel.basic_publish("", "values", value.encode(), lasting, mandatory=True)


def rabbitmq_read(server: Server) -> str | None:
    with _rabbitmq(server) as channel:
        try:
            _, _, body = channel.basic_get("values", auto_ack=False)
        except ChannelClosedByBroker as error:
            assert error.reply_code == 404
            return None
        return body.decode() if body is not None else None


def _kafka(server: Server) -> dict[str, object]:
    settings: dict[str, object] = {
        "bootstrap.servers": server.url,
        "security.protocol": server.protocol,
        "allow.auto.create.topics": False,
    }
    if server.tls:
        settings["ssl.ca.location"] = str(server.tls.ca)
    if server.password:
        settings |= {"sasl.mechanism": "PLAIN", "sasl.username": "bus"}
        settings["sasl.password"] = server.password
    return settings


def kafka_write(server: Server, value: str) -> None:
    admin = AdminClient(_kafka(server))
    admin.create_topics([NewTopic("values", 1, 1)])["values"].result(KAFKA_PATIENCE)
    failed: list[object] = []
    producer = Producer({**_kafka(server), "acks": "all"})
    producer.produce("values", value, on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(KAFKA_PATIENCE) == 0
    assert failed == [None]


def kafka_read(server: Server) -> str | None:
    if "values" not in AdminClient(_kafka(server)).list_topics(timeout=KAFKA_PATIENCE).topics:
        return None
    consumer = Consumer({**_kafka(server), "group.id": "g"})
    try:
        consumer.assign([TopicPartition("values", 0, 0)])
        message = consumer.poll(KAFKA_PATIENCE)
        return message.value().decode() if message is not None else None
    finally:
        consumer.close()


CLIENTS = {
    "redis": Client(redis_write, redis_read),
    "nats": Client(nats_write, nats_read),
    "rabbitmq": Client(rabbitmq_write, rabbitmq_read),
    "kafka": Client(kafka_write, kafka_read),
    "postgres": Client(postgres_write, postgres_read),
}

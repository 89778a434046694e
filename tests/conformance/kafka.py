"""How the suite reaches Kafka, and takes away what a test has left there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from eventbus import KafkaConfig
from eventbus.transports.base import Settings
from tests.servers import Kafka, provide

SETTINGS = Settings(prefix="", lease=30.0, retention=604_800.0, publish_timeout=5.0)

#: What the starting of the server leaves.
READY = "_eventbus.ready"

#: For clients of the tests' own: one that is not collected yet would write, into another test's
#: output, that its server is gone.
SILENT = {"log_level": 0}

#: Of each topic, so that four members have something to do; `KAFKA_PARTITIONS=1` is worth a run.
PARTITIONS = int(os.environ.get("KAFKA_PARTITIONS", "4"))

#: Asked once: to see that the server answers takes longer than many a test.
brokers = cache(lambda: provide("kafka"))


@cache
def admin(address: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": address, **SILENT})


@pytest.fixture(scope="module", autouse=True)
def no_client_left() -> Iterator[None]:
    """One that lives on opens pipes when it likes, while other tests count open files."""
    yield
    admin.cache_clear()


def config(folder: Path) -> dict[str, Any]:
    return {"kafka": KafkaConfig(brokers=brokers(), partitions=PARTITIONS)}


def reset() -> None:
    _delete_topics(admin(brokers()))


def empty(server: Kafka) -> None:
    """The same on a server that may want a password."""
    login = {
        "security.protocol": server.protocol, "sasl.mechanism": "PLAIN", "sasl.username": "bus",
        "sasl.password": server.password or "",
    }
    settings = {"bootstrap.servers": f"127.0.0.1:{server.port}", **login, **SILENT}
    _delete_topics(AdminClient(settings))
    # The first publish of a broker's life takes a second.
    producer = Producer({**settings, "enable.idempotence": True})
    producer.produce(READY, b"warm")
    assert producer.flush(10) == 0


def _delete_topics(client: AdminClient) -> None:
    """All but Kafka's own, and what groups have committed goes with them."""
    there = client.list_topics(timeout=10).topics
    topics = [name for name in there if not name.startswith("__") and name != READY]
    if topics:
        for deleted in client.delete_topics(topics).values():
            try:
                deleted.result(10)
            except KafkaException as error:
                raise AssertionError(f"a topic stays: {error}") from None

"""Many threads ask one client, which lets only one at a time use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from eventbus.transports.kafka.asker import Asker
from tests.conformance.target import wait_for

#: Seconds in which a question gets its answer: none, for nobody listens there.
LATE = 0.3


def ignore(error: object) -> None:
    """That nobody listens is no news."""


@pytest.fixture
def asker() -> Iterator[Asker]:
    client = Consumer(
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "error_cb": ignore, "log_level": 0}
    )
    yield Asker(client)
    client.close()


def ask(asker: Asker) -> None:
    with pytest.raises(KafkaException):
        asker.committed([TopicPartition("t", 0)], LATE)


def test_one_that_asks_again_and_again_keeps_nobody_else_from_hearing(asker: Asker) -> None:
    over = threading.Event()

    def insist() -> None:
        while not over.is_set():
            ask(asker)

    thread = threading.Thread(target=insist)
    thread.start()
    try:
        wait_for(asker._lock.locked, what="the first question to be on its way")
        begun = time.monotonic()
        asker.take_in()
        assert time.monotonic() - begun < LATE / 3
        ask(asker)
        assert time.monotonic() - begun < 3 * LATE
    finally:
        over.set()
        thread.join()

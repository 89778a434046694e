"""Kafka when things go wrong: credentials, wrong ports, silence. Each is told within 5 s."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError

from eventbus import (
    AuthenticationError,
    ConfigurationError,
    EventBus,
    KafkaConfig,
    PublishError,
    TransportError,
    TransportUnavailable,
)
from eventbus.transports.kafka.options import Options
from eventbus.transports.kafka.questions import Questions
from eventbus.transports.kafka.trouble import Trouble
from tests.conformance import kafka
from tests.conformance.target import Received
from tests.servers import Kafka

pytestmark = pytest.mark.kafka

PASSWORD = "p@ss/%w:rd-CANARY"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka"), password=PASSWORD) as server:
        yield server


def make(brokers: str, **config: object) -> EventBus:
    found = KafkaConfig(brokers=brokers, **config)  # type: ignore[arg-type]
    return EventBus(provider="kafka", kafka=found, group="g", environ={})


@contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 5.0


class Awakening:
    """A client that tells at the next look what was long before."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.told = False

    def poll(self, timeout: float) -> int:
        if self.told:
            return 0
        self.told = True
        self.trouble._error(KafkaError(KafkaError._TRANSPORT, "connection refused"))
        self.trouble._error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        return 1


class Slow(Future):  # type: ignore[type-arg]
    """An answer that comes at the second look; the first takes longer than it should."""

    looks = 0

    def result(self, timeout: float | None = None) -> str:
        self.looks += 1
        if self.looks == 1:
            time.sleep(0.2)
            raise LateError
        return "answer"


def test_an_outage_that_is_over_answers_no_question() -> None:
    questions = Questions(Options(KafkaConfig(brokers="127.0.0.1:1"), kafka.SETTINGS))
    questions._client = Awakening(questions.trouble)  # type: ignore[assignment]
    assert questions.wait(Slow()) == "answer"


def test_the_right_password_lets_in(locked: Kafka) -> None:
    received = Received()
    url = f"kafka://bus:p%40ss%2F%25w%3Ard-CANARY@{locked.url}"
    with EventBus(url, group="g", environ={}) as bus:
        bus.subscribe("user.*", received)
        bus.publish("user.created", 1)
        received.wait(1)
        assert bus.join(10)
        assert "CANARY" not in f"{bus!r}{bus.config!r}{bus.health()}"


def test_a_wrong_password_is_told_at_once(
    locked: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    with make(locked.url, username="bus", password="wrong-CANARY") as bus:
        with in_time(), pytest.raises(AuthenticationError) as caught:
            bus.subscribe("user.created", Received())
        with in_time(), pytest.raises(PublishError) as refused:
            bus.publish("user.created", 1)
    assert isinstance(refused.value.__cause__, AuthenticationError)
    assert refused.value.outcome == "failed"
    assert "CANARY" not in f"{caught.value}{refused.value}{caplog.text}"


def test_another_mechanism_is_told_at_once(locked: Kafka) -> None:
    login = {"username": "bus", "password": PASSWORD, "mechanism": "SCRAM-SHA-256"}
    with make(locked.url, **login) as bus, in_time(), pytest.raises(AuthenticationError):
        bus.subscribe("user.created", Received())


def test_credentials_for_a_port_without_are_told_at_once() -> None:
    with make(kafka.brokers(), username="bus", password="x") as bus:
        with in_time(), pytest.raises((AuthenticationError, ConfigurationError)):
            bus.subscribe("user.created", Received())


def test_no_credentials_where_they_are_wanted_are_told_at_once(locked: Kafka) -> None:
    with make(locked.url) as bus, in_time(), pytest.raises(ConfigurationError, match="SASL"):
        bus.subscribe("user.created", Received())


def test_tls_on_a_plain_port_is_told_at_once() -> None:
    with make(kafka.brokers(), tls=True) as bus:
        with in_time(), pytest.raises((TransportError, ConfigurationError), match="SSL"):
            bus.subscribe("user.created", Received(), timeout=1.0)


def test_nothing_listens_there() -> None:
    with make("127.0.0.1:1") as bus:
        with in_time(), pytest.raises(TransportUnavailable, match="refused"):
            bus.subscribe("user.created", Received(), timeout=1.0)
        with pytest.raises(PublishError) as caught:
            bus.publish("user.created", 1)
    assert caught.value.outcome == "failed"


class Telling:
    """A client that has something to tell, when somebody polls it, of a time that is over."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._told = False

    def poll(self, timeout: float) -> int:
        told, self._told = self._told, True
        if not told:
            self._trouble.reason = "Connection refused"
            self._trouble.silent()
        return int(not told)


def test_what_was_told_before_a_question_is_no_answer_to_it() -> None:
    questions = Questions(Options(KafkaConfig(brokers="127.0.0.1:1"), kafka.SETTINGS))
    questions._client = Telling(questions.trouble)  # type: ignore[assignment]
    question: Future[str] = Future()
    timer = threading.Timer(0.2, question.set_result, ["here I am"])
    timer.start()
    assert questions.wait(question) == "here I am"


def test_a_server_that_is_no_kafka_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with make(f"127.0.0.1:{silent.getsockname()[1]}") as bus:
            with in_time(), pytest.raises(TransportUnavailable, match="no answer"):
                bus.subscribe("user.created", Received(), timeout=1.0)


def test_publishing_to_such_a_server_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = KafkaConfig(brokers=f"127.0.0.1:{silent.getsockname()[1]}")
        bus = EventBus(provider="kafka", kafka=config, environ={}, publish_timeout=2.0)
        began = time.monotonic()
        with bus, pytest.raises(PublishError):
            bus.publish("user.created", 1)
        assert time.monotonic() - began < 3.0


def test_a_file_of_certificates_that_is_not_there_is_told_at_once() -> None:
    with make("127.0.0.1:1", tls=True, ca="/nowhere/ca.pem") as bus:
        with in_time(), pytest.raises(ConfigurationError, match=r"ssl\.ca\.location"):
            bus.subscribe("user.created", Received())


def test_a_setting_that_the_client_does_not_know_is_told() -> None:
    with make("127.0.0.1:1", client={"no.such.setting": 1}) as bus:
        with in_time(), pytest.raises(ConfigurationError, match=r"no\.such\.setting"):
            bus.subscribe("user.created", Received())

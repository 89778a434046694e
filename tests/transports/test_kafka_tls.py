"""Kafka over TLS: verified, or refused; and clients that do not expect it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from eventbus import ConfigurationError, EventBus, KafkaConfig, TransportError
from tests.conformance.target import Received
from tests.servers import Certificates, Kafka

pytestmark = pytest.mark.kafka

PASSWORD = "s3cret/with@signs"
LOGIN = {"username": "bus", "password": PASSWORD}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Kafka]:
    folder = tmp_path_factory.mktemp("kafka")
    with Kafka(folder, tls=certificates, password=PASSWORD) as server:
        yield server


def make(server: Kafka, **config: object) -> EventBus:
    found = KafkaConfig(brokers=server.url, **config)  # type: ignore[arg-type]
    return EventBus(provider="kafka", kafka=found, group="g", environ={})


def test_events_pass_where_the_certificate_is_trusted(
    server: Kafka, certificates: Certificates
) -> None:
    received = Received()
    with make(server, tls=True, ca=str(certificates.ca), **LOGIN) as bus:
        bus.subscribe("user.*", received)
        bus.publish("user.created", 1)
        received.wait(1)
        assert bus.join(10)


def test_an_unknown_certificate_is_refused(server: Kafka) -> None:
    began = time.monotonic()
    with make(server, tls=True, **LOGIN) as bus:
        with pytest.raises(TransportError, match="certificate"):
            bus.subscribe("user.created", Received(), timeout=1.0)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("login", [{}, LOGIN], ids=["without-login", "with-login"])
def test_a_client_without_tls_is_told_in_time(server: Kafka, login: dict[str, object]) -> None:
    """Though nobody says so: the broker hangs up, and that is all."""
    began = time.monotonic()
    with make(server, **login) as bus, pytest.raises(ConfigurationError, match="TLS"):
        bus.subscribe("user.created", Received())
    assert time.monotonic() - began < 5.0


def test_so_is_one_that_publishes(server: Kafka) -> None:
    began = time.monotonic()
    with make(server) as bus, pytest.raises(ConfigurationError, match="TLS"):
        bus.publish("user.created", 1)
    assert time.monotonic() - began < 5.0

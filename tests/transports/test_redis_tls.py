"""Redis over TLS: verified, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus import EventBus, PublishError
from tests.conformance.target import Received
from tests.servers import Certificates, Redis

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Redis]:
    folder = tmp_path_factory.mktemp("redis")
    with Redis(folder, tls=certificates, password="s3cret/with@signs") as server:
        yield server


def test_events_pass_where_the_certificate_is_trusted(
    server: Redis, certificates: Certificates
) -> None:
    received = Received()
    with EventBus(f"{server.url}?ssl_ca_certs={certificates.ca}", group="g", environ={}) as bus:
        bus.subscribe("user.*", received)
        bus.publish("user.created", 1)
        received.wait(1)
        assert bus.join(10)


def test_an_unknown_certificate_is_refused(server: Redis) -> None:
    with EventBus(server.url, group="g", environ={}, publish_timeout=1.0) as bus:
        with pytest.raises(PublishError, match="certificate") as caught:
            bus.publish("user.created", 1)
    assert caught.value.outcome == "failed"
    assert "s3cret" not in str(caught.value)


def test_plain_text_is_not_spoken(server: Redis, certificates: Certificates) -> None:
    plain = server.url.replace("rediss:", "redis:")
    with EventBus(plain, group="g", environ={}, publish_timeout=1.0) as bus:
        with pytest.raises(PublishError) as caught:
            bus.publish("user.created", 1)
    assert isinstance(caught.value, PublishError)
    assert str(Path(certificates.ca)) not in str(caught.value)

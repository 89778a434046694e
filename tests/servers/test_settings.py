"""Servers with a password, with TLS and with settings of a test's own."""

from __future__ import annotations

from pathlib import Path

import nats.errors
import psycopg
import pytest
import redis
from pika.exceptions import ProbableAuthenticationError

from tests.servers import (
    Certificates,
    Kafka,
    Nats,
    Postgres,
    RabbitMQ,
    Redis,
    Server,
    ServerError,
    make_certificates,
)
from tests.servers.clients import read, write
from tests.servers.conftest import of

#: With what is special in a URL and in the files of each server.
PASSWORD = "p'@ s/\"%2F\\#{,}"

REFUSED = (redis.AuthenticationError, nats.errors.Error, psycopg.OperationalError)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("kind", of(Redis, Nats, Postgres))
def test_only_the_password_opens(kind: type[Server], tmp_path: Path) -> None:
    with kind(tmp_path, password=PASSWORD) as server:
        write(server, "secret", "v")
        assert read(server, "secret") == "v"
        assert PASSWORD not in repr(server)
        server.password = "wrong"
        with pytest.raises(REFUSED):
            read(server, "secret")


@pytest.mark.parametrize("kind", of(RabbitMQ, Kafka))
def test_slow_ones_take_a_password_and_tls_at_once(
    kind: type[Server], certificates: Certificates, tmp_path: Path
) -> None:
    # Kafka's client tries a wrong password again for ever; RabbitMQ tells nobody but its client.
    knock = kind.ping if kind is Kafka else lambda server: read(server, "secret")
    with kind(tmp_path, password=PASSWORD, tls=certificates) as server:
        write(server, "secret", "v")
        assert read(server, "secret") == "v"
        assert not kind(server.folder, password=PASSWORD).is_ready()
        server.password = "wrong"
        with pytest.raises((ServerError, ProbableAuthenticationError), match=r"login|ACCESS"):
            knock(server)


@pytest.mark.parametrize("kind", of(Redis, Nats, Postgres))
def test_tls_is_the_only_way_in(
    kind: type[Server], certificates: Certificates, tmp_path: Path
) -> None:
    with kind(tmp_path, tls=certificates) as server:
        write(server, "hidden", "v")
        assert read(server, "hidden") == "v"
        assert server.is_ready()
        assert not kind(server.folder).is_ready()


@pytest.mark.redis
def test_redis_syncs_as_told(tmp_path: Path) -> None:
    with Redis(tmp_path / "always") as server:
        assert appendfsync(server) == "always"
    with Redis(tmp_path / "everysec", options={"appendfsync": "everysec"}) as server:
        assert appendfsync(server) == "everysec"


def appendfsync(server: Server) -> str:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.config_get("appendfsync")["appendfsync"]


@pytest.mark.redis
def test_two_servers_of_one_kind_know_nothing_of_each_other(tmp_path: Path) -> None:
    with Redis(tmp_path / "one") as one, Redis(tmp_path / "other") as other:
        write(one, "mine", "v")
        one.kill()
        assert other.is_ready()
        assert read(other, "mine") is None


@pytest.mark.redis
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = Redis(tmp_path, options={"appendfsync": "nonsense"})
    with pytest.raises(ServerError, match=r"(?s)redis has ended instead of starting.*nonsense"):
        server.start()
    assert not server.running


@pytest.mark.redis
def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    with pytest.raises(KeyError), Redis(folder) as server:
        process = server.process
        raise KeyError
    assert not process.alive
    assert not folder.exists()

"""The verbs of a server in a container, and that both ways start the same versions."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from services import containers
from services.containers import Container

from tests.conformance.target import wait_for
from tests.servers import Kafka, Nats, Redis, Server, ServerError, handle
from tests.servers.clients import read, write
from tests.servers.conftest import of


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with what the engine was asked to do."""
    home = tmp_path / "engine"
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "docker"
    script = Path(__file__).with_name("fake_docker.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DOCKER_HOME", str(home))
    monkeypatch.setenv("FAKE_DOCKER_SERVICES", str(Path(containers.__file__).parents[1]))
    monkeypatch.setenv("EVENTBUS_SERVICES", "docker")
    monkeypatch.setenv("EVENTBUS_SERVICES_DIR", str(tmp_path / "shared"))
    monkeypatch.delenv("REDIS_URL", raising=False)
    containers._engine_trouble.cache_clear()
    yield home
    containers._engine_trouble.cache_clear()
    Redis(home / "redis").kill()


@pytest.mark.redis
def test_a_container_takes_the_same_verbs(engine: Path) -> None:
    server = handle("redis")
    assert isinstance(server, Container)
    assert not server.is_ready()
    server.start()
    server.start()
    write(server, "first", "kept")

    server.kill()
    assert not server.running
    server.start()
    server.restart()
    assert read(server, "first") == "kept"

    server.pause()
    assert server.running
    assert not server.is_ready()
    server.resume()
    server.resume()
    wait_for(server.is_ready)

    server.wipe()
    assert server.is_ready()
    assert read(server, "first") is None
    server.stop()
    server.wipe()
    assert not server.running


@pytest.mark.redis
@pytest.mark.parametrize("verb", ["stop", "kill", "wipe", "start"])
def test_a_paused_container_is_no_obstacle(engine: Path, verb: str) -> None:
    server = handle("redis")
    server.start()
    server.pause()
    getattr(server, verb)()
    assert server.is_ready() == (verb in ("wipe", "start"))


@pytest.mark.redis
def test_verbs_without_a_container_do_nothing(engine: Path) -> None:
    server = handle("redis")
    for verb in ("stop", "kill", "pause", "resume"):
        getattr(server, verb)()
    assert not server.running


@pytest.mark.redis
def test_pausing_a_paused_container_changes_nothing(engine: Path) -> None:
    server = handle("redis")
    server.start()
    server.pause()
    server.pause()
    server.resume()
    wait_for(server.is_ready)


def test_a_container_that_ends_at_once_says_why(engine: Path) -> None:
    (engine / "broken").touch()
    server = handle("redis")
    with pytest.raises(ServerError, match=r"(?s)redis has ended instead.*what the server said"):
        server.start()


def test_data_that_cannot_be_removed_are_an_error(engine: Path) -> None:
    (engine / "busy").touch()
    server = handle("redis")
    with pytest.raises(ServerError, match=r"(?s)redis: its data cannot be removed.*in use"):
        server.wipe()


def test_an_engine_that_refuses_says_why(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = handle("redis")
    (engine / "paused").touch()
    monkeypatch.setattr(Container, "resume", lambda self: None)
    with pytest.raises(ServerError, match=r"(?s)redis: docker compose create failed.*unpause"):
        server.start()


@pytest.mark.parametrize("name", ["rabbitmq", "kafka"])
def test_health_checks_need_no_virtual_machine(name: str) -> None:
    """An Erlang as root may take the node's cookie away; a Java each second takes the processor."""
    section = containers.COMPOSE.read_text().partition(f"\n  {name}:\n")[2].partition("\n\n")[0]
    command = re.search(r'test: \[CMD, bash, -c, "(.+)"\]', section)[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        check = ["bash", "-c", re.sub(r"5672|\$\{KAFKA_PORT:-9092\}", port, command)]
        assert subprocess.run(check, check=False).returncode == 0
    assert subprocess.run(check, check=False, capture_output=True).returncode != 0


# The other three are what the system's packages hold.
@pytest.mark.parametrize("kind", of(Nats, Kafka))
def test_containers_have_the_pinned_versions(kind: type[Server], tmp_path: Path) -> None:
    server = kind(tmp_path)
    server.install()
    image = Container(server).version().removesuffix(", Docker").removesuffix("-alpine")
    assert image == server.version()

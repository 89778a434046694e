"""`make services` and the servers that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tests.servers import ServerError, handle, provide
from tests.servers.look import processes_that_mention

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the shared servers of one test live."""
    monkeypatch.setenv("EVENTBUS_SERVICES_DIR", str(tmp_path))
    monkeypatch.setenv("EVENTBUS_SERVICES", "processes")
    for variable in ("REDIS_URL", "NATS_URL"):
        monkeypatch.delenv(variable, raising=False)
    yield tmp_path
    for name in ("redis", "nats"):
        handle(name).kill()


def make(target: str, **variables: str) -> subprocess.CompletedProcess:
    """Run a target for Redis and NATS."""
    words = ["make", "-s", "-f", "docker/services.mk", target, "ONLY=redis nats"]
    return subprocess.run(
        [*words, f"PYTHON={sys.executable}"],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_services_come_up_once_and_go_down(folder: Path) -> None:
    first = make("services")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("ready after") == 3
    pids = [handle(name).process for name in ("redis", "nats")]

    assert make("services").stdout.count("was running") == 2
    assert [handle(name).process for name in ("redis", "nats")] == pids

    assert make("services-down").stdout.count("stopped after") == 2
    assert not any(process.alive for process in pids)
    assert make("services-down").stdout.count("was not running") == 2


def test_two_that_start_them_at_once_get_the_same_ones(folder: Path) -> None:
    together = Barrier(16)

    def start(name: str) -> str:
        together.wait(10)
        return provide(name)

    with ThreadPoolExecutor(16) as pool:
        addresses = set(pool.map(start, ["redis", "nats"] * 8))

    assert addresses == {handle("redis").url, handle("nats").url}
    assert all(len(processes_that_mention(folder / name)) == 1 for name in ("redis", "nats"))


def test_the_addresses_can_be_evaluated_by_a_shell(folder: Path) -> None:
    make("services")
    lines = make("services-env").stdout
    told = subprocess.run(
        ["sh", "-c", f"{lines}\necho $REDIS_URL $NATS_URL"], capture_output=True, text=True
    )
    assert told.stdout.split() == [handle("redis").url, handle("nats").url]


def test_addresses_of_servers_that_do_not_run_are_an_error(folder: Path) -> None:
    done = make("services-env")
    assert (done.returncode, done.stdout) == (2, "")
    assert "redis does not run; `make services` starts it" in done.stderr


def test_our_own_address_in_the_environment_does_not_make_it_a_foreign_one(folder: Path) -> None:
    url = handle("redis").url
    done = make("services", REDIS_URL=url)
    assert done.returncode == 0
    assert handle("redis").is_ready()


def test_a_server_from_the_environment_is_used_instead(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = handle("nats").url
    make("services")
    monkeypatch.setenv("EVENTBUS_SERVICES_DIR", str(folder / "elsewhere"))
    monkeypatch.setenv("NATS_URL", url)

    assert provide("nats") == url
    assert not handle("nats").running
    done = make("services")
    assert f"{url} (from NATS_URL)" in done.stdout
    handle("redis").kill()
    monkeypatch.setenv("EVENTBUS_SERVICES_DIR", str(folder))


def test_a_server_from_the_environment_that_is_not_there_is_an_error(folder: Path) -> None:
    done = make("services", REDIS_URL="redis://:CANARY@127.0.0.1:1/0")
    assert done.returncode == 2
    assert "redis: nothing answers at 127.0.0.1:1, which REDIS_URL names" in done.stderr
    assert "unset REDIS_URL" in done.stderr
    assert "CANARY" not in done.stdout + done.stderr


def test_a_server_that_cannot_be_had_is_an_error_that_says_what_to_do(folder: Path) -> None:
    code = (
        "import services.install as install, services.redis as redis\n"
        "install.find = redis.find = lambda program, folders=(): None\n"
        "from services.__main__ import main\n"
        "raise SystemExit(main(['up', 'redis', 'nats']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "docker")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "redis-server is not installed, and there is no apt-get here" in done.stderr
    assert "start a Docker engine, or set its environment variable" in done.stderr
    # One that fails does not keep the others from starting.
    assert handle("nats").is_ready()


def test_unknown_names_are_refused(folder: Path) -> None:
    with pytest.raises(KeyError):
        handle("mysql")
    done = subprocess.run(
        ["make", "-s", "-f", "docker/services.mk", "services", "ONLY=mysql"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert "there is no mysql; there are redis, rabbitmq" in done.stderr


def test_docker_without_an_engine_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    done = make("services", EVENTBUS_SERVICES="docker")
    assert done.returncode == 2
    assert 'set EVENTBUS_SERVICES to "processes"' in done.stderr
    assert done.stderr.count("no engine") == 1


def test_a_typing_error_in_the_choice_is_an_error(folder: Path) -> None:
    done = make("services", EVENTBUS_SERVICES="dokcer")
    assert done.returncode == 2
    assert '"dokcer"; it can be "docker" or "processes"' in done.stderr


def test_addresses_are_checked_in_every_form(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for brokers in ("127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "kafka://127.0.0.1:1,127.0.0.1:2"):
        monkeypatch.setenv("KAFKA_BROKERS", brokers)
        with pytest.raises(ServerError, match=r"127\.0\.0\.1:1, which KAFKA_BROKERS names"):
            provide("kafka")

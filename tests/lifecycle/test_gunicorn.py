"""A real gunicorn with `--preload`: the application publishes, another process consumes."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lifecycle.scripts import ROOT
from tests.lifecycle.waiting import wait_for

APPLICATION = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from eventbus import EventBus

bus = EventBus(os.environ["URL"], group="web", environ={})
# In the master, before it forks: connections and a thread that are not the workers'.
bus.publish("boot.master", os.getpid())
bus.publish_soon("boot.master", os.getpid()).result(10)


def application(environ, start_response):
    number = int(environ["QUERY_STRING"])
    if number % 2:
        bus.publish("request.handled", number)
    else:
        bus.publish_soon("request.handled", number).result(5)
    # Nobody waits for this one: the worker's end has to flush it.
    bus.publish_soon("request.noted", number)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""
CONSUMER = """
import os, sys
from eventbus import EventBus

bus = EventBus(os.environ["URL"], group="consumer", environ={})
journal = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@bus.on("request.*", start_from="earliest")
def handle(event):
    os.write(journal, f"{event.type} {event.payload}\\n".encode())

bus.run()
"""
#: Seconds after which the master kills a worker that does not answer; far more than one needs.
TIMEOUT = 20


class Service:
    """The web server, the consumer and clients that ask all the time."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.journal, self.log = folder / "journal", folder / "gunicorn.log"
        self.answered: list[int] = []
        self.done = threading.Event()
        self._numbers = iter(range(10**9))
        self._lock = threading.Lock()
        (folder / "web.py").write_text(APPLICATION)
        (folder / "consumer.py").write_text(CONSUMER)
        self._environ = {
            **os.environ, "URL": f"sqlite:///{folder}/events.db",
            "PYTHONPATH": f"{ROOT}:{folder}",
        }
        self.port = _free_port()
        self.consumer = self._start("consumer.py", str(self.journal))
        self.web = self._start(
            "-m", "gunicorn", "--preload", "--workers", "2", "--timeout", str(TIMEOUT),
            "--graceful-timeout", str(TIMEOUT), "--bind", f"127.0.0.1:{self.port}",
            "--pid", str(folder / "pid"), "--error-logfile", str(self.log), *options, "web",
        )
        wait_for(self._answers, what="an answer of gunicorn")
        self.clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(4)]
        for client in self.clients:
            client.start()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder, env=self._environ,
                stdout=output, stderr=output,
            )

    def _answers(self) -> bool:
        assert self.web.poll() is None, (self.folder / "output").read_text()
        try:
            return self._request() is not None
        except OSError:
            return False

    def _request(self) -> int | None:
        with self._lock:
            number = next(self._numbers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", f"/?{number}")
            response = connection.getresponse()
            response.read()
        except (http.client.HTTPException, ConnectionError):
            return None  # A worker that stops may drop who has only just connected.
        finally:
            connection.close()
        assert response.status == 200, (self.folder / "output").read_text()
        self.answered.append(number)
        return number

    def _ask(self) -> None:
        while not self.done.is_set():
            self._request()

    def workers(self) -> set[int]:
        children = f"/proc/{self.web.pid}/task/{self.web.pid}/children"
        return {int(pid) for pid in Path(children).read_text().split()}

    def progress(self, number: int = 30) -> None:
        """Go on when so many more requests are answered."""
        goal = len(self.answered) + number
        wait_for(lambda: len(self.answered) >= goal, timeout=30, what="answers")

    def handled(self, type: str) -> list[int]:
        lines = self.journal.read_text().split("\n") if self.journal.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(type)]

    def stop_asking(self) -> None:
        self.done.set()
        for client in self.clients:
            client.join(2 * TIMEOUT)
            assert not client.is_alive()

    def stop(self) -> None:
        self.done.set()
        for process in (self.web, self.consumer):
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=["sync", "gthread"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path, "--worker-class", request.param, "--threads", "4")
    yield service
    service.stop()


def test_reloads_and_stops_under_load_lose_nothing(service: Service) -> None:
    rng = random.Random(7)
    for step in ("HUP", "worker", "consumer", "HUP", "worker", "worker", "HUP", "consumer"):
        service.progress()
        before = service.workers()
        if step == "HUP":
            service.web.send_signal(signal.SIGHUP)
            wait_for(lambda old=before: not old & service.workers(), timeout=30, what="a reload")
        elif step == "worker":
            victim = rng.choice(sorted(before))
            os.kill(victim, signal.SIGTERM)
            wait_for(lambda pid=victim: pid not in service.workers(), timeout=30, what="an end")
        else:
            service.consumer.send_signal(signal.SIGTERM)
            assert service.consumer.wait(30) == 0
            service.consumer = service._start("consumer.py", str(service.journal))
    service.progress()
    service.stop_asking()
    service.web.send_signal(signal.SIGTERM)
    assert service.web.wait(30) == 0

    answered = set(service.answered)
    for type in ("request.handled", "request.noted"):
        wait_for(
            lambda type=type: answered <= set(service.handled(type)), timeout=30,
            what=f"{type} of each answer",
        )
        handled = service.handled(type)
        # Each stop was a gentle one.
        assert len(handled) == len(set(handled))
    service.consumer.send_signal(signal.SIGTERM)
    assert service.consumer.wait(30) == 0
    log = service.log.read_text()
    assert "WORKER TIMEOUT" not in log
    assert "SIGKILL" not in log
    assert "Traceback" not in log + (service.folder / "output").read_text()
    print(f"{len(answered)} answers")

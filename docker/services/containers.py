"""The same servers in containers, where a Docker engine answers."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import ServerError
from .server import Server

COMPOSE = Path(__file__).parents[1] / "compose.yaml"
#: Seconds that an engine may take to say that it is there.
PATIENCE = 15
#: Seconds for one command; the first start of a server downloads its image.
COMMAND_TIMEOUT = 900
#: Seconds between two looks whether a container that starts has ended; a look takes a while.
GLANCE = 2


def engine_answers() -> bool:
    """Whether servers start in containers.

    EVENTBUS_SERVICES decides ("docker" or "processes"), else what is there.

    Raises:
        ServerError: EVENTBUS_SERVICES is "docker", and no engine answers, or it is something else.
    """
    wanted = os.environ.get("EVENTBUS_SERVICES", "")
    if wanted not in ("", "docker", "processes"):
        raise ServerError(f'EVENTBUS_SERVICES is "{wanted}"; it can be "docker" or "processes"')
    if wanted == "processes":
        return False
    trouble = _engine_trouble()
    if trouble and wanted == "docker":
        raise ServerError(
            "EVENTBUS_SERVICES asks for Docker, and no engine with Compose answers; start it, or"
            f' set EVENTBUS_SERVICES to "processes"{trouble}'
        )
    return not trouble


@functools.cache
def _engine_trouble() -> str:
    """Why there is no engine with Compose; empty if there is one. Asking takes a while."""
    return _call("compose", "version")[1] or _call("info")[1]


class Container:
    """The container of one server: the same verbs as `Server`.

    Args:
        server: what would run without an engine; its folder keeps the port.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.name
        self.variable = server.variable
        self.usual_port = server.usual_port
        self.password = server.password
        self.tls = server.tls
        # Two checkouts do not share their containers.
        self.folder = server.folder
        digest = hashlib.sha256(str(self.folder.parent).encode()).hexdigest()[:8]
        self.project = f"eventbus-{digest}"

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port

    def version(self) -> str:
        """The tag of the image."""
        lines = iter(COMPOSE.read_text().splitlines())
        next(line for line in lines if line == f"  {self.name}:")
        image = next(line for line in lines if "image:" in line)
        return f"{image.rpartition(':')[2]}, Docker"

    def start(self) -> None:
        """Return when it answers.

        Raises:
            ServerError: with the reason and the end of the container's log.
        """
        with self._locked():
            # Compose would start a paused container, which the engine refuses.
            self.resume()
            self._compose("create", self.name)
        self._compose("start", self.name)
        self._wait_ready()

    def stop(self) -> None:
        """End it as its image says."""
        self.resume()
        self._compose("stop", self.name)

    def kill(self) -> None:
        """SIGKILL everything in the container."""
        if self.running:
            self.resume()
            self._compose("kill", self.name)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing answers."""
        if self._ids("running"):
            self._compose("pause", self.name)

    def resume(self) -> None:
        """End a pause."""
        if self._ids("paused"):
            self._compose("unpause", self.name)

    def wipe(self) -> None:
        """Lose all data; a server that ran runs again, empty, at the same address."""
        ran = self.running
        self.kill()
        # Images have volumes of their own besides the one for the data.
        self._compose("rm", "--force", "--volumes", self.name)
        volume = f"{self.project}_{self.name}"
        _, trouble = _call("volume", "rm", "--force", volume, timeout=COMMAND_TIMEOUT)
        if trouble:
            raise ServerError(f"{self.name}: its data cannot be removed{trouble}")
        if ran:
            self.start()

    @property
    def running(self) -> bool:
        """Whether the container runs, ready or not, paused or not."""
        return bool(self._ids("running", "paused"))

    def is_ready(self) -> bool:
        """Whether one real operation succeeds now; takes a few seconds at most."""
        return self.running and self._trouble() is None

    def _wait_ready(self) -> None:
        began = looked = time.monotonic()
        while (trouble := self._trouble()) is not None:
            now = time.monotonic()
            if now - looked > GLANCE:
                if not self.running:
                    raise self._failure("has ended instead of starting")
                looked = now
            if now - began > self.server.start_timeout:
                raise self._failure(f"does not answer: {trouble}")
            time.sleep(0.1)

    def _failure(self, what: str) -> ServerError:
        log = self._compose("logs", "--no-log-prefix", "--tail", "12", self.name)
        return ServerError(f"{self.name} {what}; its log ends with:\n{log}")

    def _trouble(self) -> Exception | None:
        try:
            self.server.ping()
        except (OSError, ServerError) as error:
            return error
        return None

    def _ids(self, *states: str) -> str:
        wanted = [word for state in states for word in ("--status", state)]
        return self._compose("ps", "--all", "--quiet", *wanted, self.name).strip()

    def _compose(self, *words: str) -> str:
        port = {f"{self.name.upper()}_PORT": str(self.port)}
        whole = ("compose", "--project-name", self.project, "--file", str(COMPOSE), *words)
        output, trouble = _call(*whole, timeout=COMMAND_TIMEOUT, **port)
        if trouble:
            raise ServerError(f"{self.name}: docker compose {words[0]} failed{trouble}")
        return output

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Servers started at once would each make the network that they share."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / "docker.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _call(*words: str, timeout: float = PATIENCE, **environment: str) -> tuple[str, str]:
    """What `docker` prints; and, if it failed, the end of its complaint."""
    try:
        done = subprocess.run(
            ["docker", *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"\n    {error}"
    lines = done.stderr.splitlines()[-6:] or [f"docker ended with {done.returncode}"]
    return done.stdout, "".join(f"\n    {line}" for line in lines) if done.returncode else ""

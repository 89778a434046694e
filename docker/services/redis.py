"""Redis with an append-only file."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from urllib.parse import quote

from .errors import ServerError
from .install import apt, find
from .places import HOST
from .process import Command
from .server import Server, private
from .sockets import connect


class Redis(Server):
    """Redis; `options={"appendfsync": "everysec"}` trades safety for speed."""

    name = "redis"
    variable = "REDIS_URL"
    usual_port = 6379

    @property
    def url(self) -> str:
        scheme = "rediss" if self.tls else "redis"
        credentials = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"{scheme}://{credentials}{HOST}:{self.port}/0"

    def install(self) -> None:
        if find("redis-server") is None:
            apt(self.name, "redis-server", "redis-server is not installed")

    def version(self) -> str:
        text = subprocess.run(
            [_program(), "--version"], capture_output=True, text=True, check=True
        ).stdout
        return text.partition("v=")[2].partition(" ")[0]

    def prepare(self) -> None:
        self.data.mkdir(exist_ok=True)
        lines = [f"{name} {value}" for name, value in {**self._settings(), **self.options}.items()]
        private(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def command(self) -> Command:
        return Command([_program(), self.folder / "redis.conf"])

    def ping(self) -> None:
        self.call("PING")

    def wipe(self) -> None:
        """FLUSHALL; the data of a server that does not run is deleted."""
        if self.running:
            self.call("FLUSHALL")
        else:
            self.erase()

    def call(self, *words: str) -> str:
        """Send one command as the default user; return the first line of the answer."""
        with connect(self.port, self.tls) as connection, connection.makefile("rwb") as stream:
            if self.password:
                _ask(stream, "AUTH", self.password)
            return _ask(stream, *words)

    def _settings(self) -> dict[str, str]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": _quoted(self.data),
            # An answered write is on disk: neither a crash nor a power cut loses it.
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
        }
        if self.password:
            settings["requirepass"] = _quoted(self.password)
        if self.tls:
            settings |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "no"}
            settings |= {"tls-ca-cert-file": _quoted(self.tls.ca)}
            settings |= {"tls-cert-file": _quoted(self.tls.certificate)}
            settings |= {"tls-key-file": _quoted(self.tls.key)}
        return settings


def _program() -> Path:
    program = find("redis-server")
    assert program is not None, "install() comes first"
    return program


def _quoted(value: Path | str) -> str:
    escaped = str(value).replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _ask(stream: socket.SocketIO, *words: str) -> str:
    raw = [word.encode() for word in words]
    stream.write(b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in raw))
    stream.flush()
    answer = stream.readline().decode(errors="replace").strip()
    if not answer or answer.startswith("-"):
        raise ServerError(f"redis answers {answer[1:] or 'nothing'}")
    return answer

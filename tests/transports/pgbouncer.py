"""PgBouncer in front of a PostgreSQL server of a test's own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from services.install import apt, find
from services.places import HOST
from services.postgres_wire import ping
from services.process import Command
from services.server import Server

from tests.servers import Postgres


class PgBouncer(Server):
    """Debian's package; in transaction mode it shares two sessions with the server."""

    name = "pgbouncer"
    variable = "PGBOUNCER_URL"
    usual_port = 6432

    def __init__(self, folder: Path, behind: Postgres, mode: str = "transaction") -> None:
        super().__init__(folder)
        self._behind = behind
        self._mode = mode
        # It refuses to run as root, too, and whom it runs as cannot go down to a test's folder.
        self._home = Path(tempfile.mkdtemp(prefix="eventbus-pgbouncer-", dir="/var/tmp"))

    @property
    def url(self) -> str:
        return self._behind.url.replace(f":{self._behind.port}/", f":{self.port}/")

    def install(self) -> None:
        if find("pgbouncer") is None:
            apt(self.name, "pgbouncer", "PgBouncer is not installed")

    def prepare(self) -> None:
        server = f"host={HOST} port={self._behind.port}"
        settings = [
            "[databases]", f"* = {server}", "[pgbouncer]", f"listen_addr = {HOST}",
            f"listen_port = {self.port}", "unix_socket_dir =", "auth_type = scram-sha-256",
            f"auth_file = {self._home}/users", f"pool_mode = {self._mode}",
            f"default_pool_size = {2 if self._mode == 'transaction' else 50}",
        ]
        (self._home / "users").write_text(f'"bus" "{self._behind.password}"\n')
        (self._home / "ini").write_text("\n".join(settings) + "\n")
        for path in (self._home, *self._home.iterdir()):
            if self._behind.user:
                shutil.chown(path, self._behind.user)

    def command(self) -> Command:
        program = find("pgbouncer")
        assert program is not None, "install() comes first"
        return Command([program, self._home / "ini"], {}, self._behind.user, self._home)

    def ping(self) -> None:
        ping(self.port, "bus", None)

    def remove(self) -> None:
        super().remove()
        shutil.rmtree(self._home, ignore_errors=True)

"""PostgreSQL with a role and a database of its own."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from . import postgres_wire
from .errors import ServerError
from .install import apt, find, run
from .places import HOST
from .process import Command
from .server import Server

#: Role and database of the clients.
USER = "bus"
DEFAULT_PASSWORD = "bus"


class Postgres(Server):
    """PostgreSQL; `options={"synchronous_commit": "off"}` changes settings of the server.

    It refuses to run as root, and runs as `postgres` there.
    """

    name = "postgres"
    variable = "POSTGRES_URL"
    usual_port = 5432
    # "Fast": end the sessions, keep the data.
    stop_signal = signal.SIGINT
    # A killed server's shared memory and lock file are known to be stale only some time later.
    passing = r"lock file .* already exists|pre-existing shared memory block"

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)
        self.password = self.password or DEFAULT_PASSWORD
        self.user = _other_user()
        if self.user and not _reachable(self.folder):
            # Below a home directory, say, where the other user may not go.
            digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
            self.data = Path(f"/var/tmp/eventbus-services-{digest}") / "data"

    @property
    def url(self) -> str:
        return self._url(USER)

    @property
    def admin_url(self) -> str:
        """As the superuser, with the same password."""
        return self._url("postgres")

    def install(self) -> None:
        if _programs() is None:
            apt(self.name, "postgresql", "PostgreSQL is not installed")
        if _programs() is None:
            raise ServerError("postgres: installed, but its initdb is not to be found")
        self.user = _other_user()

    def version(self) -> str:
        argv = [_program("postgres"), "--version"]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[2]

    def prepare(self) -> None:
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._make_cluster()
        ways = "hostssl" if self.tls else "host"
        self._write("pg_hba.conf", f"{ways} all all {HOST}/32 scram-sha-256\n")
        if self.tls:
            self._write("server.crt", self.tls.certificate.read_text())
            self._write("server.key", self.tls.key.read_text())

    def command(self) -> Command:
        settings = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "200",
            "ssl": "on" if self.tls else "off",
            **self.options,
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Command([_program("postgres"), "-D", self.data, *words], {}, self.user, self.data)

    def ping(self) -> None:
        postgres_wire.ping(self.port, USER, self.tls)

    def erase(self) -> None:
        super().erase()
        if self.data.parent != self.folder:
            shutil.rmtree(self.data.parent, ignore_errors=True)

    def _url(self, user: str) -> str:
        path = f"{HOST}:{self.port}/{USER}"
        # Nothing less than `verify-full` looks at who has signed the certificate, and for whom.
        tls = f"?sslmode=verify-full&sslrootcert={quote(str(self.tls.ca))}" if self.tls else ""
        return f"postgresql://{user}:{quote(self.password, safe='')}@{path}{tls}"

    def _check_version(self) -> None:
        made, here = (self.data / "PG_VERSION").read_text().strip(), self.version()
        if made != here.partition(".")[0]:
            raise ServerError(
                f"postgres: {self.data} was made by version {made}, here is {here};"
                f" delete {self.folder} to start anew"
            )

    def _make_cluster(self) -> None:
        """All or nothing: a folder whose making was interrupted never becomes the data."""
        home = self.data.parent
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        if home != self.folder and home.stat().st_uid != os.getuid():
            raise ServerError(
                f"postgres: {home} belongs to somebody else; set EVENTBUS_SERVICES_DIR"
            )
        draft = self.data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.user:
            shutil.chown(draft, self.user)
        # Nobody listens before `pg_hba.conf` has been written.
        self._run("initdb", "-D", draft, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        self._run("postgres", "--single", "-D", draft, "postgres", text=self._first_words())
        draft.rename(self.data)

    def _first_words(self) -> str:
        password = self.password.replace("'", "''")
        return (
            f"ALTER ROLE postgres PASSWORD '{password}'\n"
            f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'\n"
            f"CREATE DATABASE {USER} OWNER {USER}\n"
        )

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        path.chmod(0o600)
        if self.user:
            shutil.chown(path, self.user)

    def _run(self, program: str, *words: str | Path, text: str = "") -> None:
        if failed := run([_program(program), *words], text=text, user=self.user):
            raise ServerError(f"postgres: {program} failed{failed}")


def _other_user() -> str | None:
    """Whom root must hand over to; the package makes `postgres`."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _reachable(folder: Path) -> bool:
    """Whether every user may go down to this folder, as far as it exists."""
    return all(path.stat().st_mode & 0o001 for path in [folder, *folder.parents] if path.exists())


def _programs() -> Path | None:
    """The newest version's folder of programs."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    initdb = max(packaged, key=_numbers, default=None) or find("initdb")
    return initdb.resolve().parent if initdb else None


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _program(name: str) -> Path:
    folder = _programs()
    assert folder is not None, "install() comes first"
    return folder / name

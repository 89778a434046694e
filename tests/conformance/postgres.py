"""PostgreSQL for the suite: one schema per process, and a role with the documented rights only."""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from eventbus import EventBus, PostgresConfig
from tests.servers import handle, own, provide
from tests.transports import postgres_user

#: Others may run the suite on the same server.
SCHEMA = f"conformance_{os.getpid()}"
ROLE = "events"


def config(folder: Path) -> dict[str, Any]:
    return {"postgres": PostgresConfig(url=_url(), schema=SCHEMA)}


def connect(folder: Path) -> _Caller:
    return _Caller.connect(_url())


def reset() -> None:
    """Empty the tables."""
    tables = ("log", "subscription", "lease", "inbox", "dead")
    _owner().execute("; ".join(f'DELETE FROM "{SCHEMA}".{table}' for table in tables))


class _Caller(psycopg.Connection[Any]):
    """Goes into autocommit mode as `sqlite3` does: the suite knows no other word for it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "isolation_level" and value is None:
            self.autocommit = True
        else:
            super().__setattr__(name, value)


def _url() -> str:
    return postgres_user.url(provide("postgres"), ROLE)


def _admin_url() -> str:
    """Of somebody who may make a role; a server from the environment must allow that to us."""
    url = provide("postgres")
    return getattr(handle("postgres"), "admin_url", url) if own("postgres") else url


@cache
def _owner() -> Any:
    """A connection of the tables' owner; makes them."""
    admin = psycopg.connect(_admin_url(), autocommit=True)
    postgres_user.create(admin, ROLE)
    admin.close()
    with EventBus(f"{provide('postgres')}?schema={SCHEMA}", group="owner", environ={}) as bus:
        bus.topics()
    owner = psycopg.connect(provide("postgres"), autocommit=True)
    postgres_user.allow(owner, ROLE, SCHEMA)
    atexit.register(owner.close)
    atexit.register(owner.execute, f'DROP SCHEMA "{SCHEMA}" CASCADE')
    return owner

"""The servers of one checkout that all its tests and examples share."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from .containers import Container, engine_answers
from .errors import ServerError
from .kafka import Kafka
from .nats import Nats
from .places import services_folder
from .postgres import Postgres
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import Server

KINDS: tuple[type[Server], ...] = (Redis, RabbitMQ, Nats, Postgres, Kafka)
_KINDS = {kind.name: kind for kind in KINDS}
NAMES = tuple(_KINDS)


def handle(name: str) -> Server | Container:
    """The shared server of that name, running or not.

    A test that hurts a server starts one of its own instead: `Redis(tmp_path)`.
    """
    server = _KINDS[name](services_folder() / name)
    return Container(server) if not server.running and engine_answers() else server


def own(name: str) -> bool:
    """Whether it is ours: the environment names no other one."""
    return _elsewhere(name) is None


def address(name: str, *, hidden: bool = False) -> str:
    """Where clients find it: at the address in its environment variable, else at ours.

    Args:
        hidden: without the password, for people to read.

    Raises:
        ServerError: nothing listens at the address from the environment.
    """
    url = _elsewhere(name)
    if url is None:
        url = handle(name).url
    else:
        _check(name, url)
    return _without_password(url) if hidden else url


def provide(name: str) -> str:
    """The address of a server that answers; ours is started if need be."""
    if own(name):
        handle(name).start()
    return address(name)


def _elsewhere(name: str) -> str | None:
    """The address in the environment, unless it is that of our own server."""
    given = os.environ.get(_KINDS[name].variable, "").strip()
    return given if given and given != handle(name).url else None


def _check(name: str, url: str) -> None:
    variable = _KINDS[name].variable
    first = url.partition(",")[0]
    where = urlsplit(first if "//" in first else f"//{first}")
    port = where.port or handle(name).usual_port
    try:
        socket.create_connection((where.hostname or "localhost", port), 5).close()
    except OSError as error:
        raise ServerError(
            f"{name}: nothing answers at {where.hostname}:{port}, which {variable} names"
            f" ({error}); start that server, or unset {variable} to have one started here"
        ) from None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)

"""The URL of the servers: `amqp://user:password@h1:5672,h2/vhost?heartbeat=30`."""

from __future__ import annotations

import logging
import re
import ssl
from typing import NamedTuple

from ..._config import urls
from ...errors import ConfigurationError

logger = logging.getLogger("eventbus.transport")

#: Seconds after which the server misses our heartbeats, twice: a handler may hold the GIL for so
#: long. What the server does to us is noticed sooner, by asking it.
HEARTBEAT = 60
#: Seconds for a connection attempt to all the hosts.
CONNECT_TIMEOUT = 4.0

_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::(?P<port>\d+))?")
_KNOWN = (
    "heartbeat", "connection_timeout", "cacertfile", "certfile", "keyfile", "verify",
    "server_name_indication",
)


class Address(NamedTuple):
    """Where to connect and how. Its representation holds the password: never show it."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str
    vhost: str
    heartbeat: int
    connect_timeout: float
    tls: ssl.SSLContext | None
    #: The name that the server's certificate has to bear, or `None` for the host's.
    server_name: str | None
    #: Fit to be shown.
    name: str


def parse(url: str) -> Address:
    """Read a URL that `RabbitMQConfig` has checked already.

    Raises:
        ConfigurationError: a parameter is unknown or has no usable value.
    """
    parts = urls.parse(url)
    assert parts is not None
    name = urls.location(url)
    given = dict(urls.parameters(parts.query))
    if unknown := sorted(set(given) - set(_KNOWN)):
        raise ConfigurationError(
            f"RabbitMQConfig.url ({name}): unknown parameter {unknown[0]!r}; "
            f"known: {', '.join(_KNOWN)}"
        )
    secure = parts.scheme == "amqps"
    user, _, password = (parts.user or "guest:guest").partition(":")
    return Address(
        hosts=tuple(_host(text, 5671 if secure else 5672) for text in parts.hosts.split(",")),
        user=urls.unquote(user), password=urls.unquote(password),
        vhost=urls.unquote(parts.path[1:]) or "/",
        heartbeat=int(_number(name, given, "heartbeat", HEARTBEAT)),
        connect_timeout=_number(name, given, "connection_timeout", CONNECT_TIMEOUT),
        tls=_tls(name, given) if secure else None,
        server_name=given.get("server_name_indication"), name=name,
    )


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    assert found is not None
    return found["name"].strip("[]") or "localhost", int(found["port"] or port)


def _number(name: str, given: dict[str, str], field: str, default: float) -> float:
    text = given.get(field, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 65_535:
        raise ConfigurationError(
            f"RabbitMQConfig.url ({name}): {field} is {text[:40]!r}: use seconds from 1 to 65535"
        )
    return max(1.0, value) if field == "heartbeat" else value


def _tls(name: str, given: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("cacertfile"))
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"RabbitMQConfig.url ({name}): the TLS files cannot be used: {error}"
        ) from None
    verify = given.get("verify", "verify_peer")
    if verify not in ("verify_peer", "verify_none"):
        raise ConfigurationError(
            f"RabbitMQConfig.url ({name}): verify is {verify[:40]!r}: "
            "use verify_peer or verify_none"
        )
    if verify == "verify_none":
        logger.warning("%s: verify=verify_none: anybody can pose as this server", name)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

"""What the URL says: servers, credentials, TLS, and a few settings of our streams."""

from __future__ import annotations

import random
import ssl
from importlib import import_module
from typing import Any, NamedTuple

from ..._config import urls
from ...errors import ConfigurationError

FIELD = "NATSConfig.url"
#: Parameters of the URL, by what they are.
PARAMETERS = {
    "credentials": "path of a .creds file",
    "nkey": "path of a file with an nkey seed",
    "tls_ca": "path of the certificates to trust",
    "tls_cert": "path of this client's certificate",
    "tls_key": "path of its key",
    "replicas": "copies of each stream in a cluster, 1 to 5",
    "domain": "JetStream domain",
}


class Options(NamedTuple):
    """How to connect, in the client's words.

    Attributes:
        name: the servers, fit to be shown.
        servers: a URL for each, without credentials.
        client: keyword arguments for the client.
        api: prefix of the subjects of JetStream's API.
        replicas: of the streams that are made.
    """

    name: str
    servers: list[str]
    client: dict[str, Any]
    api: str
    replicas: int

    def shuffled(self) -> list[str]:
        """The servers in another order each time, so that clients spread."""
        return random.sample(self.servers, len(self.servers))


def read(url: str) -> Options:
    """The options of a URL.

    Raises:
        ConfigurationError: with what is wrong, and no secret.
    """
    parts = urls.parse(url)
    name = urls.location(url)
    if parts is None or parts.path not in ("", "/"):
        raise ConfigurationError(f"{FIELD} ({name}) names servers alone: nats://h1:4222,h2:4222")
    given = dict(urls.parameters(parts.query))
    for unknown in given.keys() - PARAMETERS.keys():
        raise ConfigurationError(
            f"{FIELD} ({name}): parameter {unknown!r} is unknown: use one of "
            f"{', '.join(PARAMETERS)}"
        )
    client = {**_credentials(parts.user), **_keys(given), **_tls(parts.scheme, given, name)}
    domain = given.get("domain")
    return Options(
        name,
        [f"{parts.scheme}://{_address(host)}" for host in parts.hosts.split(",")],
        client,
        f"$JS.{domain}.API" if domain else "$JS.API",
        _replicas(given.get("replicas", "1"), name),
    )


def _address(host: str) -> str:
    if host.startswith(":"):
        host = f"localhost{host}"
    has_port = ":" in host.rpartition("]")[2]
    return (host or "localhost") if has_port else f"{host or 'localhost'}:4222"


def _credentials(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    name, colon, password = user.partition(":")
    if not colon:
        return {"token": urls.unquote(name)}
    return {"user": urls.unquote(name), "password": urls.unquote(password)}


def _keys(given: dict[str, str]) -> dict[str, Any]:
    names = {"credentials": "user_credentials", "nkey": "nkeys_seed"}
    found = {names[key]: given[key] for key in names if key in given}
    if found:
        _need_nkeys()
    for key in names:
        if key in given:
            _readable(key, given[key])
    return found


def _need_nkeys() -> None:
    try:
        import_module("nkeys")
    except ImportError:
        raise ConfigurationError(
            f"{FIELD}: credentials and nkeys need the package 'nkeys': pip install nkeys"
        ) from None


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            return
    except OSError as error:
        raise ConfigurationError(
            f"{FIELD}: {key} is no file that can be read: {error.strerror}"
        ) from None


def _tls(scheme: str, given: dict[str, str], name: str) -> dict[str, Any]:
    files = {key: given.get(f"tls_{key}") for key in ("ca", "cert", "key")}
    if scheme != "tls" and not any(files.values()):
        return {}
    try:
        context = ssl.create_default_context(cafile=files["ca"])
        if files["cert"]:
            context.load_cert_chain(files["cert"], files["key"])
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{FIELD} ({name}): TLS files: {error}") from None
    return {"tls": context}


def _replicas(text: str, name: str) -> int:
    if text not in ("1", "2", "3", "4", "5"):
        raise ConfigurationError(f"{FIELD} ({name}): replicas is {text!r}: use 1 to 5")
    return int(text)

"""NATS servers of other kinds than the usual one: old, without JetStream, with keys."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import nkeys
from nacl.encoding import RawEncoder
from nacl.signing import SigningKey

from tests.servers import Nats, ServerError

from services.install import Download, find  # isort: skip


class DebianNats(Nats):
    """What Debian ships: in its release 12 that is 2.9, older than several filters."""

    program = property(lambda self: _debian_program())  # type: ignore[assignment]

    def _settings(self) -> dict[str, str]:
        # It does not know sync_interval.
        store = json.dumps(str(self.data))
        return {**super()._settings(), "jetstream": f"{{ store_dir: {store} }}"}


def _debian_program() -> Path:
    with Download("nats-server-debian") as download:
        if not download.folder.exists():
            _unpack(download.draft)
    return download.folder / "usr" / "sbin" / "nats-server"


def _unpack(folder: Path) -> None:
    """Get the package without installing it: that would start a service."""
    if find("apt-get") is None:
        raise ServerError("nats: Debian's server can be had with apt-get only")
    subprocess.run(["apt-get", "download", "-q", "nats-server"], cwd=folder, check=True)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    package.unlink()


class Deaf(Nats):
    """A server that cannot be asked whether it is up."""

    def ping(self) -> None:
        if "Server is ready" not in self._log_text():
            raise ServerError("not yet")


def nkey(kind: int = nkeys.PREFIX_BYTE_USER) -> tuple[str, str, SigningKey]:
    """A seed, its public key, and what signs with it."""
    raw = os.urandom(32)
    seed = nkeys.encode_seed(raw, kind).decode()
    return seed, nkeys.from_seed(bytearray(seed.encode())).public_key.decode(), SigningKey(raw)


def accounts(folder: Path) -> tuple[dict[str, str], Path]:
    """Settings of a server with one account, and the credentials of one of its users."""
    _, operator, signs_accounts = nkey(nkeys.PREFIX_BYTE_OPERATOR)
    _, account, signs_users = nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    seed, user, _ = nkey()
    limits = dict.fromkeys(
        (
            "subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage",
            "disk_storage", "streams", "consumer",
        ),
        -1,
    )
    _, system, _ = nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    operator_jwt = _jwt(operator, operator, signs_accounts, {"type": "operator", "version": 2})
    about = {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}}
    account_jwt = _jwt(operator, account, signs_accounts, about)
    for unwanted in ("mem_storage", "disk_storage", "streams", "consumer"):
        del limits[unwanted]
    about = {"type": "account", "version": 2, "limits": {**limits, "wildcards": True}}
    system_jwt = _jwt(operator, system, signs_accounts, about)
    about = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    user_jwt = _jwt(account, user, signs_users, about)
    credentials = folder / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    settings = {
        "operator": operator_jwt, "resolver": "MEMORY",
        "resolver_preload": f"{{ {account}: {account_jwt}, {system}: {system_jwt} }}",
        "system_account": system,
    }
    return settings, credentials


def _jwt(issuer: str, subject: str, key: SigningKey, about: dict[str, Any]) -> str:
    claims = {
        "iat": int(time.time()), "iss": issuer, "sub": subject, "jti": "x", "name": "test",
        "nats": about,
    }
    parts = [_encoded({"typ": "JWT", "alg": "ed25519-nkey"}), _encoded(claims)]
    signature = key.sign(".".join(parts).encode(), encoder=RawEncoder).signature
    return ".".join([*parts, _base64(signature)])


def _encoded(content: dict[str, Any]) -> str:
    return _base64(json.dumps(content).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

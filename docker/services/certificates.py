"""Certificates of a test's own authority for the loopback address."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .errors import ServerError
from .install import apt, find, run
from .places import HOST


class Certificates(NamedTuple):
    """Files in PEM format."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, host: str = HOST) -> Certificates:
    """A new authority and a certificate by it, valid for 30 days.

    Args:
        folder: where the files go; readable by servers that run as another user.
        host: what the certificate is for; an address or a name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if find("openssl") is None:
        apt("certificates", "openssl", "openssl is not installed")
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    kind = "IP" if host.replace(".", "").isdigit() or ":" in host else "DNS"
    new: list[str | Path] = ["openssl", "req", "-x509", "-nodes", "-days", "30"]
    new += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    _run([*new, "-subj", "/CN=test authority", "-keyout", folder / "ca.key", "-out", made.ca])
    new += ["-CA", made.ca, "-CAkey", folder / "ca.key", "-addext", f"subjectAltName={kind}:{host}"]
    new += ["-addext", "basicConstraints=critical,CA:FALSE"]
    _run([*new, "-subj", f"/CN={host}", "-keyout", made.key, "-out", made.certificate])
    return made


def _run(argv: list[str | Path]) -> None:
    if failed := run(argv):
        raise ServerError(f"openssl failed{failed}")

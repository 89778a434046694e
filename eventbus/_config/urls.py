"""URLs as text: recognise, redact, and take parameters out without touching the rest.

A URL that is not clearly well-formed may hold a password anywhere, so it is never shown beyond
its scheme. The standard library's parser is avoided because its errors quote what they reject.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple

_SCHEME = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)"
# A name or IPv4 address, an IPv6 address in brackets, or a percent-encoded socket directory.
_NAME = r"(?:[\w.~-]+|\[[\w:.%~-]+\]|%2[Ff][\w.%~-]+)"
_HOST = rf"{_NAME}?(?::\d{{1,5}})?"
_URL = re.compile(
    rf"{_SCHEME}://(?:(?P<user>[^/?#\s]*)@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?P<path>/[^?#@\s]*)?(?:\?(?P<query>[^#\s]*))?"
)
_PORT = re.compile(r":(\d+)(?=,|$)")
_BROKERS = re.compile(rf"{_NAME}:\d{{1,5}}(?:,{_NAME}:\d{{1,5}})*")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|auth|cred|key|sig|user", re.IGNORECASE)


def unquote(text: str) -> str:
    """Resolve percent-encoding; the standard library's module is slow to import."""
    from urllib.parse import unquote

    return unquote(text)


class Parts(NamedTuple):
    """A well-formed URL. Only `hosts`, `path` and the lower-case `scheme` are fit to be shown."""

    scheme: str
    user: str | None
    hosts: str
    path: str
    query: str | None


class Secret(str):
    """A URL that can be used as it is but shows no password when it is represented."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redact(self))


def parse(url: str) -> Parts | None:
    """The parts of a server's URL; `None` when it is not well-formed."""
    found = _URL.fullmatch(url)
    if found is None or any(int(port) > 65535 for port in _PORT.findall(found["hosts"])):
        return None
    return Parts(
        found["scheme"].lower(), found["user"], found["hosts"], found["path"] or "", found["query"]
    )


def parse_local(url: str) -> Parts:
    """The parts of a URL without a client of its own: `memory:`, `sqlite:///path`, `kafka://h`."""
    place, mark, query = url.partition("?")
    scheme, _, rest = place.partition(":")
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", rest, "")
    return Parts(scheme.lower(), None, host, slash + path, query if mark else None)


def redact(url: str) -> str:
    """The URL as it may be shown: without user, password, or secret query values.

    Of anything that is not clearly well-formed, only the scheme remains.
    """
    parts = _showable(url)
    if parts:
        user = "" if parts.user is None else "***@"
        query = "" if parts.query is None else "?" + "&".join(map(_mask, parts.query.split("&")))
        return f"{parts.scheme}://{user}{parts.hosts}{parts.path}{query}"
    if _BROKERS.fullmatch(url) or re.fullmatch(rf"{_SCHEME}:", url):
        return str(url)  # Not a Secret, whose representation comes back here.
    scheme = re.match(rf"{_SCHEME}://", url)
    return f"{scheme[0]}***" if scheme else "***"


def location(url: str) -> str:
    """Where a URL points: scheme, hosts and path alone."""
    parts = _showable(url)
    return f"{parts.scheme}://{parts.hosts}{parts.path}" if parts else redact(url)


def parameters(query: str | None) -> list[tuple[str, str]]:
    """The decoded (name, value) pairs of a query, in order."""
    pairs = (segment.partition("=") for segment in (query or "").split("&") if segment)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def without(url: str, names: Container[str]) -> str:
    """The URL without the query parameters of these names; the others stay byte for byte."""
    base, _, query = url.partition("?")
    kept = [part for part in query.split("&") if unquote(part.partition("=")[0]) not in names]
    return f"{base}?{'&'.join(kept)}" if any(kept) else base


def _showable(url: str) -> Parts | None:
    # With an @ behind it, what looks like host and port may be user and password.
    parts = parse(url)
    return None if parts is None or "@" in (parts.query or "") else parts


def _mask(segment: str) -> str:
    name, equals, _ = segment.partition("=")
    if equals and not _SECRET_NAME.search(unquote(name)):
        return segment
    return f"{name}=***" if equals else "***"

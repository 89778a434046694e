"""Errors of the client and of the server as ours."""

from __future__ import annotations

import re
from typing import Literal

import psycopg

from ...errors import (
    AuthenticationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)

#: SQLSTATE classes that pass: connection, transaction rollback, resources, intervention, system.
_PASSING = ("08", "40", "53", "55", "57", "58", "25")
#: After these the session is over, and whether a commit came first nobody knows.
_ENDED = ("08", "57P")
#: Tables or the schema are not there: the next session makes them again.
VANISHED = ("42P01", "3F000")
#: What exists is not what is needed.
_INCOMPATIBLE = ("42703", "42804", "42P07", "42883", "23502", "3D000")
_DENIED = ("28", "42501")

#: The server refuses a connection in words alone; these are those of PostgreSQL and PgBouncer.
_REFUSALS = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|role .* does not exist|"
    r"permission denied|no password supplied|is not permitted to log in|SASL authentication|"
    r"authentication failed|no such user|certificate verify failed|does not support SSL|"
    r"root certificate file|server certificate for",
    re.IGNORECASE,
)
_NO_DATABASE = re.compile(r"database .* does not exist|no such database", re.IGNORECASE)


class TimedOut(Exception):
    """The server has not answered in time."""


def is_clients(error: BaseException) -> bool:
    """Whether psycopg, in its third or second version, has raised it."""
    return hasattr(error, "sqlstate") or hasattr(error, "pgcode")


def translate(error: BaseException, name: str, *, sent: bool) -> TransportError:
    """An error as one of ours.

    Args:
        error: of the client.
        name: of the server, fit to be shown.
        sent: something was under way, so that a broken connection leaves its fate open.
    """
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    text = f"{name}: {' '.join(str(error).split()) or type(error).__name__}"
    unknown: Literal["failed", "unknown"] = "unknown" if sent else "failed"
    if not state:
        return _without_state(error, text, unknown)
    if state.startswith(_DENIED):
        return AuthenticationError(f"{text} (see the documentation for the rights that it needs)")
    if state in VANISHED:
        return TransportUnavailable(f"{text}: tables of the bus have vanished")
    if state in _INCOMPATIBLE:
        return TopologyError(text)
    if state.startswith(_PASSING):
        ended = state.startswith(_ENDED)
        return TransportUnavailable(text, outcome=unknown if ended else "failed")
    return TransportError(text)


def _without_state(
    error: BaseException, text: str, unknown: Literal["failed", "unknown"]
) -> TransportError:
    if isinstance(error, TimedOut):
        return TransportUnavailable(text, outcome=unknown)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        if _REFUSALS.search(text):
            return AuthenticationError(text)
        if _NO_DATABASE.search(text):
            return TopologyError(f"{text}: create it, or correct the URL")
        return TransportUnavailable(text, outcome=unknown)
    return TransportError(text, outcome=unknown)

"""What the server refuses, in our words."""

from __future__ import annotations

from typing import Any

from ...errors import AuthenticationError, TopologyError, TransportError, TransportUnavailable


class Missing(TransportUnavailable):
    """A queue or an exchange is not there (any more)."""


class Alarm(TransportUnavailable):
    """The server takes no messages for now: it is short of memory or of disk space."""


def lost(name: str, what: object, outcome: Any = "unknown") -> TransportUnavailable:
    """The connection is gone, or was not to be had."""
    return TransportUnavailable(f"{name}: {what}", outcome=outcome)


def alarm(name: str, reason: str, outcome: Any = "failed") -> Alarm:
    return Alarm(f"{name}: the server accepts no messages: {reason}", outcome=outcome)


def translate(code: int, text: str, name: str) -> TransportError:
    """The code and text with which the server closed a channel or the connection."""
    told = f"{name}: {text or code}"
    if code == 403:
        return AuthenticationError(told)
    if code == 404:
        return Missing(told, outcome="unknown")
    if code == 530 and "not found" in text:
        return TopologyError(f"{told}: create the virtual host, or name another one in the URL")
    if code == 530 and "refused" in text:
        return AuthenticationError(told)
    if code == 406 and "inequivalent" in text:
        return TopologyError(
            f"{told}: delete what is there once it is empty, or use another virtual host"
        )
    if code in (402, 540):
        return TopologyError(told)
    return TransportUnavailable(told, outcome="unknown")

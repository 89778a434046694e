"""Errors of JetStream and of its client, in words of ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Literal

import nats.errors

from ...errors import AuthenticationError, TopologyError, TransportError, TransportUnavailable
from .loop import Expired, PlainText

Outcome = Literal["failed", "unknown"]

#: JetStream's codes for: no such stream, consumer or message; subjects that overlap with those of
#: another stream; a name that is in use; another last message than expected; a filter beyond the
#: stream's subjects.
NO_STREAM, NO_CONSUMER, NO_MESSAGE = 10059, 10014, 10037
OVERLAP, IN_USE, OTHER_LAST, BAD_FILTER = 10065, 10058, 10071, 10093
#: The stream is being made, or removed, at this very moment (`addConsumerWithAssignment` of the
#: server); 2.9 and 2.15 also say so with a general code and these words.
HALF_MADE = 10096
_GENERAL = 10012
_HALF_MADE_WORDS = ("invalid stream", "consumer closed")
#: Types of answers that describe a consumer.
_DESCRIPTIONS = ("consumer_create_response", "consumer_info_response")

_DENIALS = ("authorization", "authentication", "permissions violation")
#: Errors of JetStream that no waiting mends: it is off, for the server or the account.
_DISABLED = (10039, 10076)
#: Errors that pass: no leader, no space, a busy or full server.
_PASSING = frozenset((
    10001, 10005, 10008, 10009, 10023, 10028, 10047, 10049, 10051, 10064, 10074, 10077, 10122,
    10133,
))


class Refused(TransportError):
    """JetStream's own answer to a request that it did not carry out."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def refused(name: str, answer: Mapping[str, Any], subject: str) -> TransportError | None:
    """What an answer of JetStream refuses, if anything.

    A consumer that is removed before it can be described is answered with nothing but the type
    (`infoWithSnap` of the server has no description of it then).
    """
    if error := answer.get("error"):
        return refusal(name, error, subject)
    if "name" not in answer and str(answer.get("type")).endswith(_DESCRIPTIONS):
        return Refused(f"{name}: JetStream: removed while it was described ({subject})", HALF_MADE)
    return None


def refusal(name: str, error: Mapping[str, Any], subject: str = "") -> TransportError:
    """The error of an answer of JetStream as one of ours."""
    code = int(error.get("err_code", 0))
    if code == _GENERAL and error.get("description") in _HALF_MADE_WORDS:
        code = HALF_MADE
    about = f" ({subject})" if subject else ""
    text = f"{name}: JetStream: {error.get('description', 'unknown error')}{about}"
    if code in _DISABLED:
        return TopologyError(f"{text}: start the server with JetStream (-js) for this account")
    if code in _PASSING or error.get("code") == 503:
        return TransportUnavailable(text)
    return Refused(text, code)


def translate(
    error: BaseException, name: str, outcome: Outcome = "failed", timeout: float = 0.0
) -> TransportError:
    """An error of the client as one of ours."""
    if isinstance(error, TransportError):
        return error
    text = text_of(error)
    if isinstance(error, Expired):
        return TransportUnavailable(f"{name}: no answer within {timeout:.1f} s", outcome=outcome)
    if isinstance(error, nats.errors.MaxPayloadError):
        return TransportError(f"{name}: larger than the server's max_payload")
    if isinstance(error, PlainText):
        return TopologyError(f"{name}: the URL asks for TLS, which the server does not require")
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationError(f"{name}: the server's certificate: {error.verify_message}")
    if isinstance(error, nats.errors.Error) and any(word in text.lower() for word in _DENIALS):
        return AuthenticationError(f"{name}: {text.removeprefix('nats: ')}")
    if isinstance(error, nats.errors.Error | OSError | asyncio.TimeoutError | EOFError):
        return TransportUnavailable(f"{name}: {text.removeprefix('nats: ')}", outcome=outcome)
    return TransportUnavailable(f"{name}: {type(error).__name__}: {text}", outcome=outcome)


def text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__

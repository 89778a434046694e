"""One connection to the server, and its errors in words.

The client's own retries stay off: they would send an `XADD` again whose answer was late, hide an
outage from the engine, and could not be interrupted.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any, Literal

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from ..._config.urls import location
from ...errors import (
    AuthenticationError,
    ConfigurationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)

#: Seconds for connecting, and for an answer where the caller names no time.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 4.0, 5.0
#: Seconds that an answer gets at least.
SHORTEST = 0.05

#: First words of error replies that the client has no class for.
_DENIED = ("NOAUTH", "WRONGPASS", "DENIED")
_PASSING = ("MISCONF", "NOGROUP", "UNBLOCKED", "NOREPLICAS", "BUSY")
_DENIALS = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
_PASSING_ERRORS = (
    redis.ConnectionError, redis.TimeoutError, redis.OutOfMemoryError, redis.ReadOnlyError,
    redis.exceptions.ExecAbortError, redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)

Command = Sequence[str | bytes | int | float]
Outcome = Literal["failed", "unknown"]


class Connector:
    """Makes connections to one URL; does no I/O itself."""

    def __init__(self, url: str) -> None:
        self.name = location(url)
        try:
            pool = ConnectionPool.from_url(
                url, protocol=2, retry=Retry(NoBackoff(), 0), socket_keepalive=True,
                socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=ANSWER_TIMEOUT,
                health_check_interval=0,
            )
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"RedisConfig.url ({self.name}): {error}") from None
        self._make = pool.connection_class
        self._settings = dict(pool.connection_kwargs)

    def link(self) -> Link:
        """A new connection, which is made by the first command."""
        return Link(self._make(**self._settings), self.name)


class Link:
    """A connection for one thread at a time."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection = connection
        self._name = name

    def call(self, *command: str | bytes | float, timeout: float = ANSWER_TIMEOUT) -> Any:
        """Send a command and return its answer."""
        return self.pipeline((command,), timeout)[0]

    def pipeline(
        self, commands: Sequence[Command], timeout: float = ANSWER_TIMEOUT
    ) -> list[Any]:
        """Send commands in one round trip and return their answers; raise the first error."""
        return self._sound(self.replies(commands, timeout))

    def replies(self, commands: Sequence[Command], timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        """As `pipeline`, with error replies among the answers."""
        if not commands:
            return []
        deadline = monotonic() + timeout
        self.send(commands, timeout)
        return self._receive(len(commands), deadline - monotonic())

    def send(self, commands: Sequence[Command], timeout: float = ANSWER_TIMEOUT) -> None:
        """Send without waiting for answers; connects first where that is needed."""
        connection = self._connection
        if connection._sock is None:
            self._connect(timeout)
        try:
            packed = connection.pack_commands(commands)
            connection.send_packed_command(packed, check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._broken(error, "unknown") from error

    def _connect(self, timeout: float) -> None:
        # A paused server accepts a connection and then says nothing.
        self._connection.socket_connect_timeout = min(CONNECT_TIMEOUT, timeout / 2)
        self._connection.socket_timeout = max(SHORTEST, timeout / 2)
        try:
            self._connection.connect()
        except (redis.RedisError, OSError) as error:
            raise self._broken(error, "failed") from error

    def receive(self, count: int, timeout: float = ANSWER_TIMEOUT) -> list[Any]:
        """The answers to what was sent; raises the first error reply."""
        return self._sound(self._receive(count, timeout))

    def _receive(self, count: int, timeout: float) -> list[Any]:
        try:
            self._socket().settimeout(max(SHORTEST, timeout))
            return [self._answer() for _ in range(count)]
        except (redis.RedisError, OSError) as error:
            raise self._broken(error, "unknown") from error

    def _sound(self, answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, redis.RedisError):
                raise translate(answer, self._name)
        return answers

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except redis.ResponseError as error:
            return error

    def _socket(self) -> socket.socket:
        found: socket.socket | None = self._connection._sock
        if found is None:
            raise redis.ConnectionError("the connection is closed")
        return found

    def fileno(self) -> int:
        """For `select`; the connection must have been used."""
        return self._socket().fileno()

    def close(self) -> None:
        """Close without waiting for the network; never raises."""
        try:
            self._connection.disconnect()
        except Exception:
            return

    def _broken(self, error: Exception, outcome: Outcome) -> TransportError:
        """Close, since an answer may still be on its way, and say what happened."""
        self.close()
        if isinstance(error, redis.RedisError):
            return translate(error, self._name, outcome)
        return TransportUnavailable(f"{self._name}: {error}", outcome=outcome)


def translate(error: Exception, name: str, outcome: Outcome = "failed") -> TransportError:
    """An error of the client or of the server as one of ours."""
    text = str(error) or type(error).__name__
    word = text.split(" ", 1)[0].rstrip(":").upper()
    if isinstance(error, _DENIALS) or word in _DENIED:
        return AuthenticationError(f"{name}: {text}")
    if isinstance(error, _PASSING_ERRORS) or word in _PASSING:
        return TransportUnavailable(f"{name}: {text}", outcome=outcome)
    if word == "WRONGTYPE":
        return TopologyError(f"{name}: a key that should be a stream is something else: {text}")
    return TransportError(f"{name}: {text}")

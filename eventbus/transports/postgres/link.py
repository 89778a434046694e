"""One connection to the server, for one thread at a time.

The client waits for an answer as long as it takes; here every wait has an end, for a paused server
keeps its connections open and says nothing.
"""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import monotonic
from typing import Any

import psycopg
import psycopg.sql
from psycopg.conninfo import conninfo_to_dict

from ..._config.urls import location
from ...errors import ConfigurationError, TransportError, TransportUnavailable
from ..waiting import Selector
from .errors import VANISHED, TimedOut, translate

#: Seconds for connecting, and for an answer where the caller names no time.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 4, 10.0
#: Seconds that an answer gets at least.
SHORTEST = 0.05
#: Seconds between two looks at the clock while an answer is awaited.
TICK = 0.05
#: Seconds after which the server ends a transaction whose client has stopped in the middle of it,
#: with the locks that its peers wait for.
IDLE_IN_TRANSACTION = 5.0

#: A half-open connection is noticed within ten seconds, unless the URL says otherwise.
_KEEPALIVE = {
    "connect_timeout": CONNECT_TIMEOUT, "keepalives": 1, "keepalives_idle": 5,
    "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
    "application_name": "eventbus",
}

_BROKEN = (psycopg.Error, OSError, TimedOut)


#: `until`: when this thread gives up the connection that it is making. The client's own limit is
#: one per host and at least two seconds.
_connecting = threading.local()


class _Connection(psycopg.Connection[Any]):
    """A connection whose operations end at a deadline."""

    deadline: float = float("inf")

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["interval"] = TICK
        return super().wait(_limited(gen, lambda: self.deadline, TimedOut), **kwargs)

    @classmethod
    def _connect_gen(cls, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        gen = super()._connect_gen(*args, **kwargs)
        return _limited(gen, lambda: _connecting.until, psycopg.errors.ConnectionTimeout)


def _limited(
    gen: Generator[Any, Any, Any], deadline: Callable[[], float], error: type[Exception]
) -> Generator[Any, Any, Any]:
    """The same operation, given up by an error when nothing has come until the deadline."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and monotonic() > deadline():
                raise error("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


class Connector:
    """Makes connections to one URL; does no I/O itself."""

    def __init__(self, url: str) -> None:
        self.name = location(url)
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            # What libpq quotes is the name of a parameter, or a part that may be a secret.
            text = str(error).strip()
            reason = text if text.startswith("invalid URI query parameter") else "not understood"
            raise ConfigurationError(f"PostgresConfig.url ({self.name}): {reason}") from None
        self._arguments: dict[str, Any] = {**_KEEPALIVE, **given, "client_encoding": "utf8"}

    def link(self, settings: dict[str, str], prepare: Callable[[Link], None]) -> Link:
        """A new connection, which is made when it is first used.

        Args:
            settings: of the session.
            prepare: called with each new connection.
        """
        return Link(self._arguments, self.name, settings, prepare)


class Link:
    """A connection that is made when it is needed, and again after it broke.

    Behind a pooler that hands the session to others between two transactions, settings hold for
    one transaction only, nothing is prepared, and nobody listens.
    """

    def __init__(
        self, arguments: dict[str, Any], name: str, settings: dict[str, str],
        prepare: Callable[[Link], None],
    ) -> None:
        self.name = name
        self.pooled = False
        self._arguments = arguments
        self._settings = settings
        self._prepare = prepare
        self._connection: _Connection | None = None
        self._cursor: Any = None
        self._selector: Any = None
        self._durably = False
        #: Of the current transaction: see there.
        self.opened: list[list[Any]] = []
        #: No statement may take longer, while a connection is prepared.
        self._until = float("inf")

    # -- statements --------------------------------------------------------------------------

    def rows(
        self, sql: str, values: Sequence[Any] = (), timeout: float = ANSWER_TIMEOUT
    ) -> list[Any]:
        """Execute a statement and return its rows."""
        return self._execute(sql, values, timeout).fetchall()  # type: ignore[no-any-return]

    def run(self, sql: str, values: Sequence[Any] = (), timeout: float = ANSWER_TIMEOUT) -> int:
        """Execute a statement and return the number of rows that it concerned."""
        return self._execute(sql, values, timeout).rowcount  # type: ignore[no-any-return]

    def _execute(self, sql: str, values: Sequence[Any], timeout: float) -> Any:
        deadline = self._deadline(timeout)
        self.connect(timeout)
        assert self._connection is not None
        self._connection.deadline = deadline
        try:
            return self._cursor.execute(sql, values, binary=True)
        except _BROKEN as error:
            raise self._failed(error) from error

    def with_settings(self) -> AbstractContextManager[object]:
        """For single statements whose plan depends on our settings: behind a pooler they need a
        transaction for that."""
        return self.transaction() if self.pooled else nullcontext()

    def script(self, sql: str, timeout: float = ANSWER_TIMEOUT) -> list[list[Any]]:
        """Execute statements without values in one round trip; return the rows of each query."""
        deadline = self._deadline(timeout)
        self.connect(timeout)
        assert self._connection is not None
        self._connection.deadline = deadline
        try:
            # Without values, and thus by the simple protocol: it takes several at once.
            return _all_rows(self._connection.execute(sql))
        except _BROKEN as error:
            raise self._failed(error) from error

    def literal(self, text: str) -> str:
        """Quoted, for a script."""
        return psycopg.sql.Literal(text).as_string(self._connection)

    def _deadline(self, timeout: float) -> float:
        return min(monotonic() + max(SHORTEST, timeout), self._until)

    def _failed(self, error: Exception) -> TransportError:
        broken = self._connection is None or self._connection.closed
        if broken or isinstance(error, TimedOut) or getattr(error, "sqlstate", None) in VANISHED:
            self.close()
        return translate(error, self.name, sent=True)

    @contextmanager
    def transaction(
        self, how: str = "", timeout: float = ANSWER_TIMEOUT, opening: Sequence[str] = ()
    ) -> Iterator[Link]:
        """Begin, and commit in the end; an error rolls back.

        Args:
            how: behind `BEGIN`: isolation level, access mode.
            timeout: for beginning, in seconds.
            opening: queries that take no round trip of their own; `opened` has their rows.
        """
        self.connect(timeout)
        self._durably = False
        try:
            begin = [f"BEGIN {how or self._usual}", *self._local(), *opening]
            self.opened = self.script("; ".join(begin), timeout)
            yield self
        except BaseException:
            self._roll_back()
            raise
        last = "SET LOCAL synchronous_commit TO DEFAULT; COMMIT" if self._durably else "COMMIT"
        self.script(last)

    def commit_durably(self) -> None:
        """Have this transaction outlive a crash of the server, though its session need not."""
        self._durably = True

    @property
    def _usual(self) -> str:
        # Whatever the server's default is: each statement is to see what is committed by then.
        level = "ISOLATION LEVEL READ COMMITTED"
        return f"{level} READ WRITE" if self.pooled else level

    def _local(self) -> list[str]:
        if not self.pooled:
            return []
        return [f"SET LOCAL {name} = '{value}'" for name, value in self._settings.items()]

    def _roll_back(self) -> None:
        if self._connection is None or self._connection.closed:
            return
        try:
            self.script("ROLLBACK", 1.0)
        except TransportError:
            self.close()

    # -- the connection ----------------------------------------------------------------------

    def connect(self, timeout: float = ANSWER_TIMEOUT) -> None:
        """Make the connection, and prepare it, unless there is one."""
        if self.connected:
            return
        self.close()
        self._until = monotonic() + max(SHORTEST, timeout)
        try:
            self._make(timeout)
        finally:
            self._until = float("inf")

    def _make(self, timeout: float) -> None:
        try:
            self._connection = self._open(timeout)
            self._connection.deadline = self._until
            self._cursor = self._connection.cursor()
            self._selector = Selector()
            self._selector.register(self._connection.pgconn.socket, selectors.EVENT_READ)
            self._look_for_pooler()
            if not self.pooled:
                settings = self._settings.items()
                self._insist("; ".join(f"SET {n} = '{v}'" for n, v in settings))
        except _BROKEN as error:
            self.close()
            raise translate(error, self.name, sent=False) from error
        try:
            self._prepare(self)
        except BaseException as error:
            self.close()
            if isinstance(error, TransportUnavailable):
                error.outcome = "failed"
            raise

    def refresh(self) -> None:
        """Let go of a connection that the server has closed meanwhile.

        Before anything is sent: afterwards nobody could tell whether it has arrived.
        """
        if self._connection is None or not self._selector.select(0):
            return
        try:
            self._connection.pgconn.consume_input()
            ended = bool(self._selector.select(0))
        except psycopg.Error:
            ended = True
        if ended:
            self.close()

    def _open(self, timeout: float) -> _Connection:
        # One host that swallows everything must leave time for the next one.
        hosts = str(self._arguments.get("host", "")).count(",") + 1
        limit = min(int(self._arguments["connect_timeout"]), max(2, int(timeout / hosts)))
        arguments = {**self._arguments, "connect_timeout": limit}
        _connecting.until = self._until
        return _Connection.connect(autocommit=True, **arguments)

    def _insist(self, sql: str) -> psycopg.Cursor[Any]:
        """Execute in a new session, in which the role's own `statement_timeout` still counts."""
        assert self._connection is not None
        while True:
            try:
                return self._connection.execute(sql)
            except psycopg.errors.QueryCanceled:
                if monotonic() >= self._until:
                    raise

    def _look_for_pooler(self) -> None:
        """A pooler makes up the number of the process that it announces."""
        assert self._connection is not None
        self._connection.prepare_threshold = None
        row = self._insist("SELECT pg_backend_pid()").fetchone()
        self.pooled = row != (self._connection.pgconn.backend_pid,)
        if not self.pooled:
            self._connection.prepare_threshold = 2

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.closed

    @property
    def raw(self) -> Any:
        """The client's connection; for `select` and notifications."""
        if self._connection is None or self._connection.closed:
            raise TransportUnavailable(f"{self.name}: the connection is closed")
        return self._connection

    def close(self) -> None:
        """Close without waiting for the network; never raises."""
        connection, self._connection, self._cursor = self._connection, None, None
        try:
            if self._selector is not None:
                self._selector.close()
            if connection is not None:
                connection.close()
        except Exception:
            return


def _all_rows(cursor: psycopg.Cursor[Any]) -> list[list[Any]]:
    found = []
    while True:
        if cursor.description:
            found.append(cursor.fetchall())
        if not cursor.nextset():
            return found


def _ms(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"


def session(*, statement: float, lock: float, durable: bool = True) -> dict[str, str]:
    """Settings of a session.

    Args:
        statement: seconds that a statement may take.
        lock: seconds that it may wait for a lock.
        durable: a commit waits until it is safe on disk; without, a crash of the server takes back
            the latest ones, which is no loss where they only settle.
    """
    settings = {
        "statement_timeout": _ms(statement), "lock_timeout": _ms(lock),
        "idle_in_transaction_session_timeout": _ms(IDLE_IN_TRANSACTION),
        # A server may make this the default to keep people from writing by accident.
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read committed",
        # Statistics of these tables are always old: rows come and go. By them the planner would
        # now and then read, or sort, the whole log for the next few events.
        "enable_seqscan": "off", "enable_bitmapscan": "off",
        "plan_cache_mode": "force_generic_plan",
        # A plan that is avoided is a costly one, and what costs much would be compiled.
        "jit": "off",
    }
    if not durable:
        settings["synchronous_commit"] = "off"
    return settings

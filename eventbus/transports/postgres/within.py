"""Publishing inside a caller's own transaction: psycopg's connections, and Django's wrapper."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from ...errors import ConfigurationError

Execute = Callable[[str, list[Any]], Any]

_AUTOCOMMIT = (
    "connection is in autocommit mode with no transaction open: {advice}, or leave out connection="
)


class Caller:
    """A caller's connection.

    Raises:
        TypeError: it is nothing that we can write on.
        ValueError: it would commit each statement at once.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_django = getattr(connection, "vendor", None) == "postgresql"
        if self.is_django:
            self._check_django()
        elif isinstance(connection, psycopg.Connection):
            self._check_psycopg()
        else:
            raise TypeError(
                "connection must be a psycopg.Connection or Django's connection to PostgreSQL, "
                f"not {type(connection).__module__}.{type(connection).__qualname__}"
            )

    def _check_django(self) -> None:
        if not self.connection.in_atomic_block and self.connection.get_autocommit():
            raise ValueError(_AUTOCOMMIT.format(advice="use transaction.atomic()"))

    def _check_psycopg(self) -> None:
        idle = self.connection.info.transaction_status == TransactionStatus.IDLE
        if idle and self.connection.autocommit:
            raise ValueError(_AUTOCOMMIT.format(advice="use `with connection.transaction():`"))

    @property
    def real(self) -> Any:
        """The client's own connection: Django replaces it behind the same wrapper."""
        return self.connection.connection if self.is_django else self.connection

    def execute(self, sql: str, values: list[Any]) -> list[Any]:
        """Execute a statement in the caller's transaction."""
        # Whatever its rows look like otherwise.
        options = {} if self.is_django else {"row_factory": tuple_row}
        with self.connection.cursor(**options) as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []

    def after_commit(self, action: Callable[[], None]) -> bool:
        """Have something done when the transaction is committed; `False` where that is unknown."""
        if not self.is_django:
            return False

        def quietly() -> None:
            with suppress(Exception):  # A hint: the caller's commit is not to fail for it.
                action()

        self.connection.on_commit(quietly)
        return True


class SameDatabase:
    """Makes sure that callers write where the bus reads: each connection is asked once."""

    def __init__(self, name: str, meta: str) -> None:
        self._name = name
        self._meta = meta
        self._known: WeakSet[Any] = WeakSet()

    def check(self, caller: Caller, instance: Callable[[], str]) -> None:
        """Refuse another database.

        Args:
            caller: whose connection it is.
            instance: asks for what tells the tables of the bus from others.
        """
        if self._knows(caller):
            return
        # An error would end the caller's transaction, so nothing is asked that may be missing.
        ((found,),) = caller.execute("SELECT to_regclass(%s) IS NOT NULL", [self._meta])
        sql = f"SELECT value FROM {self._meta} WHERE name = 'instance'"
        rows = caller.execute(sql, []) if found else []
        # A snapshot that is older than the tables sees them empty.
        if not found or (rows and rows[0][0] != instance()):
            raise ConfigurationError(
                f"connection is open on another database than the bus ({self._name}): "
                "both must use the same one to share a transaction"
            )
        if rows:
            with suppress(TypeError):
                self._known.add(caller.real)

    def _knows(self, caller: Caller) -> bool:
        try:
            return caller.real in self._known
        except TypeError:  # Django has not connected yet.
            return False

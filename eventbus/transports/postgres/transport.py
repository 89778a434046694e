"""Publishing and administration: a connection for each, one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timezone
from threading import Lock
from time import monotonic
from typing import Any
from uuid import uuid4

from ...config import PostgresConfig
from ...errors import TransportUnavailable
from ..base import (
    Capabilities,
    Delivery,
    Finding,
    Parked,
    Record,
    Settings,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    no_subscription,
)
from . import backlog, doctor, publishing, retention, schema, subscriptions, within
from .consumer import PostgresConsumer
from .deadletters import PostgresDeadLetters
from .errors import is_clients, translate
from .link import ANSWER_TIMEOUT, Connector, Link, session
from .publishing import Announcements
from .settling import insert_parked
from .snapshot import Snapshot
from .tables import Tables
from .window import COUNT_TIMEOUT

CAPABILITIES = Capabilities(
    name="postgres",
    durable=True,
    multi_process=True,
    history=True,
    deduplicates=False,
    transactional_publish=True,
    per_handler_success=True,
    leases=True,
    receipts_survive=True,
    cross_process_order=False,
    bounded=False,
    concurrent_publish=False,
    notes={
        "durable": "as far as the server's synchronous_commit goes",
        "transactional_publish": "psycopg 3, and Django's connection on psycopg 3 or psycopg2",
    },
)

#: Seconds that a lock of somebody else is waited for.
LOCK_TIMEOUT = 5.0

#: Connections of a parent process: a child must not close them.
_inherited: list[object] = []


class PostgresTransport:
    """Events in tables of one database."""

    capabilities = CAPABILITIES

    def __init__(self, config: PostgresConfig, settings: Settings) -> None:
        assert config.url is not None
        self._connector = Connector(config.url)
        self._tables = Tables(config.schema)
        self._settings = settings
        self._owner = uuid4().hex
        seconds = settings.publish_timeout
        # A little less than the caller waits, so that the server's word comes first: it is certain.
        self._publishing = _Shared(
            lambda: self._link(session(statement=0.9 * seconds, lock=0.8 * seconds))
        )
        self._administration = _Shared(
            lambda: self._link(session(statement=COUNT_TIMEOUT, lock=LOCK_TIMEOUT))
        )
        self._announcements = Announcements(self._tables.channel, publishing.PAUSE)
        self._callers = Announcements(self._tables.channel, publishing.CALLERS_PAUSE)
        self._same_database = within.SameDatabase(self._connector.name, self._tables.meta)
        self.dead_letters = PostgresDeadLetters(self._locked, self._tables)

    def _link(self, settings: dict[str, str]) -> Link:
        return self._connector.link(settings, lambda link: schema.ensure(link, self._tables))

    def _locked(self) -> AbstractContextManager[Link]:
        return self._administration.use(ANSWER_TIMEOUT)

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        if connection is not None:
            self._publish_within(connection, records)
            return
        deadline = monotonic() + timeout
        with self._publishing.use(timeout) as link:
            link.connect(deadline - monotonic())
            publishing.publish(link, self._tables, records, deadline - monotonic())
            self._announce(link, [record.topic for record in records])

    def _announce(self, link: Link, topics: list[str]) -> None:
        try:
            self._announcements.announce(topics, link.rows)
        except TransportUnavailable:
            return  # It is stored, and a hint is a hint.

    def _publish_within(self, connection: Any, records: Sequence[Record]) -> None:
        """Write in the caller's transaction; whether it commits is the caller's affair."""
        caller = within.Caller(connection)
        # The tables are made on our own connection: an error would end the caller's transaction.
        self._ensured()
        topics = [record.topic for record in records]
        try:
            self._same_database.check(caller, self._find_instance)
            caller.execute(*publishing.insert_anywhere(self._tables, records))
            if not caller.after_commit(lambda: self._tell(topics)):
                self._callers.announce(topics, caller.execute)
        except Exception as error:
            # Django's errors have the client's as their cause.
            cause = next((e for e in (error, error.__cause__) if e and is_clients(e)), None)
            if cause is None:
                raise
            raise translate(cause, self._connector.name, sent=False) from error

    def _ensured(self) -> None:
        if not self._administration.was_connected:
            with self._locked() as link:
                link.connect()

    def _find_instance(self) -> str:
        with self._locked() as link:
            return schema.instance(link, self._tables)

    def _tell(self, topics: list[str]) -> None:
        with self._administration.use(0.0) as link:
            self._announce(link, topics)

    def maintain(self) -> bool:
        with self._locked() as link:
            return retention.clean(link, self._tables, self._settings.retention)

    # -- subscriptions -----------------------------------------------------------------------

    def deliver(self, parked: Sequence[Parked]) -> None:
        with self._locked() as link, link.transaction():
            for item in parked:
                if not insert_parked(link, self._tables, item):
                    raise no_subscription(item.subscription)

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        with self._locked() as link:
            return subscriptions.declare(link, self._tables, subscription, start_from)

    def drop(self, subscription: SubscriptionId) -> bool:
        with self._locked() as link:
            return subscriptions.drop(link, self._tables, subscription)

    def list(self) -> Sequence[SubscriptionInfo]:
        with self._locked() as link:
            rows = link.rows(
                f"SELECT grp, pattern, created_at FROM {self._tables.subscription}"
                " ORDER BY grp, pattern"
            )
            return [
                SubscriptionInfo(
                    group, pattern,
                    backlog.of(link, self._tables, SubscriptionId(group, pattern), None),
                    created.astimezone(timezone.utc),
                )
                for group, pattern, created in rows
            ]

    def topics(self) -> Sequence[str]:
        # From one topic to the next by the index, past all events in between.
        log = self._tables.log
        sql = (
            f"WITH RECURSIVE t AS ((SELECT topic FROM {log} ORDER BY topic LIMIT 1) UNION ALL"
            f" SELECT (SELECT l.topic FROM {log} AS l WHERE l.topic > t.topic ORDER BY l.topic"
            " LIMIT 1) FROM t WHERE t.topic IS NOT NULL)"
            " SELECT topic FROM t WHERE topic IS NOT NULL"
        )
        with self._locked() as link:
            return [topic for (topic,) in link.rows(sql)]

    def mark(self) -> Snapshot:
        with self._locked() as link:
            return subscriptions.now(link)

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        with self._locked() as link:
            return backlog.of(link, self._tables, subscription, upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> PostgresConsumer:
        link = self._link(session(statement=ANSWER_TIMEOUT, lock=LOCK_TIMEOUT, durable=False))
        return PostgresConsumer(link, self._tables, self._owner, self._settings.lease, held)

    def diagnose(self) -> Sequence[Finding]:
        with self._locked() as link:
            return list(doctor.findings(link, self._tables, self._settings))

    def close(self, timeout: float = 0.0) -> None:
        self._publishing.close()
        self._administration.close()

    def forget(self) -> None:
        _inherited.append((self._publishing.forget(), self._administration.forget()))


class _Shared:
    """A link that threads take in turns."""

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make
        self._lock = Lock()
        self._link: Link | None = None

    @contextmanager
    def use(self, timeout: float) -> Iterator[Link]:
        if not self._lock.acquire(timeout=max(0.001, timeout)):
            raise TransportUnavailable("another thread still waits for an answer of the server")
        try:
            if self._link is None:
                self._link = self._make()
            self._link.refresh()
            yield self._link
        finally:
            self._lock.release()

    @property
    def was_connected(self) -> bool:
        link = self._link
        return link is not None and link.connected

    def close(self) -> None:
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            if self._link is not None:
                self._link.close()
                self._link = None
        finally:
            self._lock.release()

    def forget(self) -> object:
        link, self._link = self._link, None
        self._lock = Lock()
        return link

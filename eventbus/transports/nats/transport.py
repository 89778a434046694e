"""Publishing and administration: one connection, one thread at a time."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Any

from ...config import NATSConfig
from ...errors import TransportError, TransportUnavailable
from ..base import (
    Capabilities,
    Delivery,
    Finding,
    Parked,
    PartlyStored,
    Record,
    Settings,
    StartFrom,
    SubscriptionId,
    SubscriptionInfo,
    no_subscription,
)
from . import (
    backlog,
    books,
    doctor,
    frames,
    names,
    publishing,
    registry,
    retention,
    settling,
    streams,
)
from .consumer import NATSConsumer
from .deadletters import NATSDeadLetters
from .errors import NO_STREAM, Refused
from .link import ANSWER_TIMEOUT, CONNECT_TIMEOUT, Connector, Link
from .memory import Memory
from .publishing import Message
from .registry import Registry
from .streams import Streams

CAPABILITIES = Capabilities(
    name="nats",
    durable=True,
    multi_process=True,
    history=True,
    deduplicates=True,
    transactional_publish=False,
    per_handler_success=False,
    leases=True,
    receipts_survive=True,
    cross_process_order=False,
    bounded=False,
    concurrent_publish=False,
    notes={
        "durable": "as far as the server's sync_interval goes: two minutes, unless it is set",
        "deduplicates": f"second copies within {books.WINDOW} seconds, or the stream's window",
        "leases": "a lease is the consumer's ack_wait: it is lengthened, never shortened",
    },
)

#: Seconds without use after which the connection is tried before something depends on it.
IDLE = 1.0
#: Seconds that a connection has for a sign of life.
SIGN_OF_LIFE = 1.0

#: Connections of a parent process: a child must not close them.
_inherited: list[object] = []


class NATSTransport:
    """Events in streams of one server or cluster."""

    capabilities = CAPABILITIES

    def __init__(self, config: NATSConfig, settings: Settings) -> None:
        assert config.url is not None
        self._connector = Connector(config.url)
        self._settings = settings
        self._lock = Lock()
        self._link: Link | None = None
        self._known: set[str] = set()
        self._memory = Memory()
        self._closed = False
        self._streams = Streams(settings.prefix)
        self._registry = Registry(self._streams, settings.lease)
        self._consumers: weakref.WeakSet[NATSConsumer] = weakref.WeakSet()
        self.dead_letters = NATSDeadLetters(self._locked)

    @contextmanager
    def _locked(self, timeout: float = ANSWER_TIMEOUT) -> Iterator[Link]:
        if not self._lock.acquire(timeout=max(0.001, timeout)):
            raise TransportUnavailable("another thread still waits for an answer of the server")
        try:
            yield self._connected(timeout)
        finally:
            if self._closed:
                self._disconnect()
            self._lock.release()

    def _connected(self, timeout: float) -> Link:
        """The connection; a new one where the old one is gone."""
        link = self._link
        if link is not None and link.usable and monotonic() - link.used_at > IDLE:
            with contextlib.suppress(TransportError):
                link.run(link.flush(), min(SIGN_OF_LIFE, timeout / 3))
        if link is None or not link.usable:
            self._disconnect()
            # A paused server accepts a connection and then says nothing.
            self._link = link = self._connector.link(min(CONNECT_TIMEOUT, timeout / 2))
        return link

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # -- publishing --------------------------------------------------------------------------

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        deadline = monotonic() + timeout
        with self._locked(timeout) as link:
            topics = {record.topic for record in records}
            if not topics <= self._known:
                new = sorted(topics - self._known)
                link.run(self._cover(link, new), deadline - monotonic(), outcome="failed")
            messages = (Message(r.topic, r.data, frames.headers(r)) for r in records)
            try:
                publishing.store(link, messages, deadline - monotonic())
            except TransportError as error:
                raise self._explained(error) from None
            self._known |= topics

    async def _cover(self, link: Link, topics: Sequence[str]) -> None:
        for topic in topics:
            await self._streams.cover_topic(link, topic)

    def _explained(self, error: TransportError) -> TransportError:
        """After an error look again which streams there are."""
        self._known.clear()
        if isinstance(error, Refused) and error.code == NO_STREAM:
            return TransportUnavailable(f"{error}: it has vanished", outcome=error.outcome)
        if isinstance(error, Refused) and not isinstance(error, PartlyStored):
            return TransportUnavailable(str(error), outcome=error.outcome)
        return error

    async def _clean(self, link: Link) -> None:
        ids = [record.id for record in await registry.all_records(link)]
        await retention.clean(link, ids, self._settings.retention)

    def maintain(self) -> bool:
        with self._locked() as link:
            link.run(self._clean(link))
        return False

    def deliver(self, parked: Sequence[Parked]) -> None:
        with self._locked() as link:
            link.run(self._deliver(link, parked))

    async def _deliver(self, link: Link, parked: Sequence[Parked]) -> None:
        for id in dict.fromkeys(item.subscription for item in parked):
            if await registry.get(link, id) is None:
                raise no_subscription(id)
        await settling.store(link, [settling.park(item) for item in parked], [names.INBOX])
        link.send(names.BELL)

    # -- subscriptions -----------------------------------------------------------------------

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        with self._locked() as link:
            return link.run(self._registry.declare(link, subscription, start_from))

    def drop(self, subscription: SubscriptionId) -> bool:
        with self._locked() as link:
            return link.run(self._registry.drop(link, subscription))

    def list(self) -> Sequence[SubscriptionInfo]:
        with self._locked() as link:
            return link.run(self._list(link))

    async def _list(self, link: Link) -> Sequence[SubscriptionInfo]:
        found = await streams.event_streams(link)
        return [
            SubscriptionInfo(
                *record.id, await backlog.of(link, record.id, found, None), record.born
            )
            for record in await registry.all_records(link)
        ]

    def topics(self) -> Sequence[str]:
        with self._locked() as link:
            return link.run(registry.topics(link))

    def mark(self) -> Mapping[str, int]:
        with self._locked() as link:
            found = link.run(streams.event_streams(link))
        return {stream.name: stream.last for stream in found}

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        with self._locked() as link:
            return link.run(self._backlog(link, subscription, upto))

    async def _backlog(
        self, link: Link, id: SubscriptionId, upto: Mapping[str, int] | None
    ) -> int:
        if await registry.get(link, id) is None:
            return 0
        return await backlog.of(link, id, await streams.event_streams(link), upto)

    # -- life --------------------------------------------------------------------------------

    def consumer(self, held: Collection[Delivery]) -> NATSConsumer:
        made = NATSConsumer(
            self._connector, self._registry, self._settings.lease, self._memory
        )
        self._consumers.add(made)
        return made

    def diagnose(self) -> Sequence[Finding]:
        with self._locked() as link:
            return link.run(self._diagnose(link))

    async def _diagnose(self, link: Link) -> Sequence[Finding]:
        records = await registry.all_records(link)
        return await doctor.findings(link, records, self._settings.lease)

    def close(self, timeout: float = 0.0) -> None:
        # Whoever waits for the server still, or comes later, does it behind itself.
        self._closed = True
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            self._disconnect()
        finally:
            self._lock.release()

    def forget(self) -> None:
        for consumer in self._consumers:
            consumer.forget()
        if self._link is not None:
            self._link.loop.detach()
        _inherited.append((self._link, [*self._consumers]))
        self._link = None


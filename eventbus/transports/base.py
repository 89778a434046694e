"""The contract between the engine and a transport.

A transport moves bytes and remembers who has dealt with them. It does not reconnect, retry,
start threads for handlers or decide about failures: the engine does that once for all of them.

Who calls what:

* `Transport` methods may be called from any thread. Unless `Capabilities.concurrent_publish` is
  set, the engine calls `publish` from one thread at a time and merges what others publish
  meanwhile into the next call (group commit).
* A `Consumer` belongs to one thread, which alone calls it, but for `wake`.

What they raise: `TransportUnavailable` for what may pass (the engine reconnects with a backoff),
`AuthenticationError`, `TopologyError` or `ConfigurationError` for what a person must change. For
`publish`, the error's `outcome` says whether the records may have been stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from ..errors import TopologyError, TransportUnavailable

StartFrom = Literal["latest", "earliest"]
Reason = Literal["failed", "rejected", "undecodable", "crashed"]


class PartlyStored(TransportUnavailable):
    """Raised by `publish` when the first `stored` records are safe and the others are not.

    Where there are no others, the engine takes it for a success.
    """

    def __init__(
        self, message: str, *, stored: int, outcome: Literal["failed", "unknown"] = "failed"
    ) -> None:
        super().__init__(message, outcome=outcome)
        self.stored = stored


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a transport can do. README's table, tests and error texts are made from it."""

    name: str
    #: Events and subscriptions outlive the process.
    durable: bool
    #: Members in several processes can share a subscription.
    multi_process: bool
    #: `start_from="earliest"` finds events that were published before the subscription's birth.
    history: bool
    #: A publish whose outcome is unknown may be sent again: the broker drops the second copy.
    deduplicates: bool
    #: `publish(connection=...)` writes inside the caller's own transaction.
    transactional_publish: bool
    #: A handler that had succeeded does not run again when a delivery changes hands.
    per_handler_success: bool
    #: `lease` seconds and their renewal decide when a silent member's events go to a peer.
    leases: bool
    #: Receipts stay valid when the session to the broker is rebuilt.
    receipts_survive: bool
    #: Events of one key keep their order across the processes of a group.
    cross_process_order: bool
    #: `publish` waits for room, up to `publish_timeout`, where a subscription is full.
    bounded: bool
    #: `publish` may be called from several threads at once and gains nothing from group commit.
    concurrent_publish: bool
    #: One client connection and thread per subscription instead of one for all.
    consumer_per_subscription: bool = False
    #: Seconds for which finished events may wait for company before they are settled.
    settle_interval: float = 0.04
    #: Who removes old events: the bus (older than `retention` and settled) or the broker itself.
    retention: Literal["bus", "broker", "none"] = "bus"
    #: Short sentences for people, by the name of the field they explain.
    notes: Mapping[str, str] = {}


class SubscriptionId(NamedTuple):
    """A durable subscription: the consumer group and the canonical pattern with its prefix."""

    group: str
    pattern: str


class Record(msgspec.Struct, gc=False):
    """One event as it is stored: `data` is the wire format of `eventbus.wire`."""

    id: str
    topic: str
    data: bytes
    key: str | None = None


class Delivery(msgspec.Struct, gc=False, eq=False):
    """One event handed to this member, to be settled through the consumer that fetched it.

    Attributes:
        receipt: whatever the consumer needs to settle it.
        handler: the one handler it is meant for (a parked or replayed event), or `None` for all.
        attempt: number of the next attempt, from 1.
        deaths: how often it came back because its member vanished: a suspicion, never a proof.
        started: a member recorded that it ran this event alone, and left no outcome.
        succeeded: handlers that have dealt with it already, where the transport records that.
        origin: the dead letter it was replayed from, `""` for none. `None` where a dead letter and
            the ack of its delivery are stored in one step, so that no kill can make two of one.
        held: the engine's own state.
    """

    topic: str
    data: bytes
    key: str | None = None
    receipt: Any = None
    handler: str | None = None
    attempt: int = 1
    deaths: int = 0
    started: bool = False
    first_failed_at: datetime | None = None
    succeeded: Collection[str] = ()
    origin: str | None = None
    held: Any = None


class Parked(msgspec.Struct, kw_only=True):
    """An event for one handler (or for all, `None`) of one subscription, not before `due`."""

    subscription: SubscriptionId
    handler: str | None
    topic: str
    data: bytes
    key: str | None
    attempt: int
    due: datetime
    first_failed_at: datetime | None = None
    #: See `Delivery.deaths` and `Delivery.origin`.
    deaths: int = 0
    origin: str = ""


class DeadRecord(msgspec.Struct, kw_only=True):
    """A dead letter as it is stored; `eventbus.DeadLetter` is made from it."""

    id: str
    subscription: SubscriptionId
    handler: str | None
    topic: str
    data: bytes
    key: str | None
    event_id: str | None
    reason: Reason
    error: str
    traceback: str
    attempts: int
    first_failed_at: datetime
    failed_at: datetime


class Settlement(msgspec.Struct):
    """What became of deliveries since the last settlement.

    `dead` and `parked` must be stored, and confirmed, before `acks` take effect; where the
    broker can, in one transaction. Entries whose delivery's lease was lost are ignored.
    """

    acks: list[Delivery] = []
    releases: list[Delivery] = []
    succeeded: list[tuple[Delivery, str]] = []
    dead: list[tuple[Delivery, DeadRecord]] = []
    parked: list[tuple[Delivery, Parked]] = []

    def __bool__(self) -> bool:
        return bool(self.acks or self.releases or self.succeeded or self.dead or self.parked)


class Budget(NamedTuple):
    """How much a member can take of one subscription now."""

    events: int
    size: int
    #: Names of the handlers hosted here; inbox entries for others are left to their members.
    handlers: tuple[str, ...]


class SubscriptionInfo(msgspec.Struct, frozen=True):
    """A durable subscription as the broker knows it; `backlog` is `None` where it cannot tell."""

    group: str
    pattern: str
    backlog: int | None
    created_at: datetime | None = None


class Finding(msgspec.Struct, frozen=True):
    """One line of `eventbus doctor`."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the bus tells each transport; the rest is in the provider's own config."""

    prefix: str
    lease: float
    retention: float
    publish_timeout: float


class Consumer(Protocol):
    """The consuming side of one connection, owned by one thread."""

    def attach(self, subscription: SubscriptionId) -> None:
        """Begin to deliver a declared subscription; one that is attached is not attached again."""

    def detach(self, subscription: SubscriptionId) -> None:
        """Stop delivering it: what was asked for is a peer's from now on.

        Called for a cancelled subscription, and while the last handlers of a closing bus run. What
        is in flight can still be renewed and settled.
        """

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        """Hand over events, own leftovers first; wait up to `timeout` seconds for the first.

        Parked events that are due and inbox entries are delivered here too. No more than each
        budget allows, but always at least one event, however large, where `events` is positive.
        """

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        """Make outcomes durable; return the deliveries whose lease had been lost."""

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        """Renew the leases of exactly these; return those that are lost.

        Deliveries that are left out are let go: a peer may have them when their lease ends.
        """

    def mark_started(self, delivery: Delivery) -> None:
        """Record durably that this suspect runs alone now (see `Delivery.started`)."""

    def wake(self) -> None:
        """End a waiting `fetch` early. Any thread may call this, at any time."""

    def close(self) -> None:
        """Close the connection. Does not raise, does not wait for the network."""


@runtime_checkable
class GroupConsumer(Consumer, Protocol):
    """A consumer to which the broker assigns a share of the events, and may take it away again."""

    #: Set by the engine. Called inside `fetch` or `serve` before a share is given up, with a test
    #: for deliveries that belong to it, and seconds: gives back what has not begun, waits for what
    #: runs, and settles, by calling `settle` once more.
    surrender: Callable[[Callable[[Delivery], bool], float], None]

    @property
    def connected(self) -> bool:
        """Whether brokers answer, where the client connects again by itself."""

    def serve(self) -> None:
        """Stay a member of the group: called each turn in which nothing is fetched."""


def no_subscription(id: SubscriptionId) -> TopologyError:
    """What `Transport.deliver` raises."""
    return TopologyError(
        f"there is no subscription {id.pattern!r} of group {id.group!r} any more, so nothing was "
        "delivered to it: declare it again, or purge what was meant for it"
    )


class DeadLetterStore(Protocol):
    """Where dead letters are kept; looking at them changes nothing."""

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        """All of one group, oldest first; of every group for `None`.

        Read in pages: there may be millions, and they may be removed meanwhile.
        """

    def get(self, id: str) -> DeadRecord | None: ...

    def remove(self, ids: Collection[str]) -> int:
        """Remove them and return how many there were."""


class Transport(Protocol):
    """One broker, as the engine sees it. Constructing does no I/O."""

    capabilities: Capabilities
    dead_letters: DeadLetterStore

    def publish(
        self, records: Sequence[Record], *, timeout: float, wait: bool, connection: Any = None
    ) -> None:
        """Store all of them durably, in order, or raise.

        Args:
            records: encoded events, at most a few thousand.
            timeout: seconds after which to raise `TransportUnavailable`.
            wait: `False` inside a handler: never wait for room (see `Capabilities.bounded`).
            connection: the caller's own connection, where the capabilities allow one.
        """

    def declare(self, subscription: SubscriptionId, start_from: StartFrom) -> bool:
        """Create the durable subscription and return `True`, or leave it as it is.

        After it returned, every matching event that is published reaches the subscription.
        """

    def drop(self, subscription: SubscriptionId) -> bool:
        """End a durable subscription with all that waits in it; `False` if there was none."""

    def list(self) -> Sequence[SubscriptionInfo]:
        """All durable subscriptions, of every prefix."""

    def topics(self) -> Sequence[str]:
        """All topics ever published that the broker still knows, of every prefix."""

    def deliver(self, parked: Sequence[Parked]) -> None:
        """Put events into the private inbox of a subscription: what is replayed.

        Raises:
            TopologyError: one of the subscriptions does not exist; nothing was delivered.
        """

    def consumer(self, held: Collection[Delivery]) -> Consumer:
        """Connect. `held` are deliveries of an earlier session whose handlers still run."""

    def mark(self) -> Any:
        """The end of what is published now, for `backlog`; `None` where there is no order."""

    def backlog(self, subscription: SubscriptionId, upto: Any = None) -> int | None:
        """How many events are not settled yet, waiting retries included, parked ones not.

        With a mark, only those published before it.
        """

    def maintain(self) -> bool:
        """Remove some of what is older than `retention` and settled by every subscription.

        The engine calls it about once a minute, from any thread. It should not take longer than
        a publish does; `True` asks to be called again soon, because there is more.
        """

    def diagnose(self) -> Sequence[Finding]: ...

    def close(self, timeout: float = 0.0) -> None:
        """Close what `publish` uses. Idempotent, bounded, does not raise.

        Args:
            timeout: seconds for which to wait where connections only end when a server answers.
        """

    def forget(self) -> None:
        """In a forked child: drop every connection without touching it."""

"""The consuming side of one subscription: one client, one thread, and its share of the group."""

from __future__ import annotations

import logging
from bisect import bisect
from collections import deque
from collections.abc import Callable, Collection, Mapping
from heapq import heappop
from itertools import accumulate
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ...errors import EventBusError, TransportError, TransportUnavailable
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import clients, farewell, frames, names
from .admin import Admin
from .catalogue import Catalogue
from .commits import Commits
from .errors import MISSING, translate
from .farewell import Farewells
from .inboxes import Inboxes
from .options import ANSWER_TIMEOUT, Options
from .positions import share as taken_up
from .progress import Progress
from .registry import Registry
from .settling import Store, is_lost
from .share import Share
from .standstill import Standstill
from .trouble import Trouble

logger = logging.getLogger("eventbus.consumer")

#: Seconds of one wait for messages: the client's own cannot be ended by another thread.
SLICE = 0.02
#: Seconds between the news that no broker answers and an answer that is later than that.
AGAIN = 0.2
#: Seconds for the last commit.
FAREWELL = 1.0
#: Messages that are taken in without room for them before the client is told to stop fetching.
SURPLUS = 200
#: Seconds of waiting in vain for events that are there, after which the client is given up.
STALLED = 3.0
#: Seconds that running handlers get when their partition is taken away.
PATIENCE = 5.0
#: Seconds between two changes of the topics that are followed.
SETTLED = 0.2
#: First guess at the bytes of an event, for how many to take at once.
USUAL_SIZE = 1_000


class KafkaConsumer:
    """Reads the topics of one subscription and the inboxes of the handlers that are here.

    Args:
        owner: name of this process in what is committed.
        farewells: of clients that cannot be closed at once.
    """

    def __init__(
        self, options: Options, admin: Admin, registry: Registry, catalogue: Catalogue,
        store: Store, owner: str, farewells: Farewells,
    ) -> None:
        self._options = options
        self._admin = admin
        self._registry = registry
        self._catalogue = catalogue
        self._store = store
        self._owner = owner
        self._farewells = farewells
        self._trouble = Trouble(options.name)
        self._client: Consumer | None = None
        self._commits: Commits | None = None
        self._id = SubscriptionId("", "")
        self._handlers: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._topics: list[str] = []
        self._seen = -1
        self._follow_at = 0.0
        self._shares: dict[tuple[str, int], Share] = {}
        #: What was done in shares that were lost.
        self._left: dict[tuple[str, int], Progress] = {}
        self._standstill = Standstill(STALLED)
        self._inboxes = Inboxes()
        self._buffer: deque[Delivery] = deque()
        self._mean = float(USUAL_SIZE)
        self._paused = False
        self._woken = False
        self._failure: Exception | None = None
        self._closing = False
        #: Set by the engine: hands over what it holds of partitions that are taken away.
        self.surrender: Callable[[Callable[[Delivery], bool], float], None] = _keep

    # -- the contract ------------------------------------------------------------------------

    def attach(self, subscription: SubscriptionId) -> None:
        if self._client is not None:
            # Of a member that leaves, and keeps the share until all of it is through.
            self._seen = -1
            return
        self._id = subscription
        settings = self._options.consumer(names.group_of(subscription))
        settings["on_commit"] = self._committed
        self._client = clients.make(Consumer, settings, self._trouble, polled=True)
        self._commits = Commits(
            self._client, self._trouble, self._shares, names.group_of(subscription),
            self._registry.keep,
        )
        self._registry.start()
        self._registry.watchers.add(self._compare)

    def detach(self, subscription: SubscriptionId) -> None:
        if self._client is not None:
            self._topics, self._seen = [], self._catalogue.version
            self._client.unsubscribe()

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        budget = budgets[self._id]
        self._handlers = budget.handlers
        self._woken = False
        deadline = monotonic() + timeout
        while True:
            self._follow()
            self._check()
            found = self._ready(budget)
            if not found and not self._buffer:
                self._resume()
                found = self._read(budget, self._slice(deadline))
            if found:
                return [(self._id, found)]
            if self._woken or monotonic() >= deadline:
                return []

    def serve(self) -> None:
        """Stay a member while there is no room for events; nothing is handed over."""
        if self._client is None:
            return
        message = self._client.poll(0)
        if message is not None:
            self._buffer += self._taken([message])
            if len(self._buffer) > SURPLUS and not self._paused:
                self._paused = True
                self._client.pause(self._client.assignment())
        self._check()
        self._commit()

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        lost = [d for d in settlement.acks if is_lost(d)]
        self._store.keep(settlement)
        for delivery in settlement.acks:
            share, offset = delivery.receipt
            if share.alive:
                share.settled(offset)
        for delivery in settlement.releases:
            if is_lost(delivery):
                lost.append(delivery)
            else:
                self._give_back(delivery)
        self._commit()
        return lost

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        return [delivery for delivery in held if is_lost(delivery)]

    def mark_started(self, delivery: Delivery) -> None:
        share, offset = delivery.receipt
        share.note.started = offset
        assert self._commits is not None
        self._commits.mark()

    def wake(self) -> None:
        self._woken = True

    def close(self) -> None:
        self._closing = True
        self._registry.watchers.discard(self._compare)
        client, self._client = self._client, None
        # It holds all that it went through, and that in turn clients and this.
        self._failure = None
        if client is None:
            return
        # The answer to the last commit comes through this.
        answered = self._commits is not None and self._commits.last(FAREWELL)
        self._commits = None
        classic = self._options.config.protocol == "classic"
        if answered and classic and self._topics and not self._shares:
            answered = farewell.leave(client, FAREWELL)
        if answered:
            farewell.close(client)
        else:
            self._farewells.begin(client, awaited=not self._trouble.down)

    # -- reading -----------------------------------------------------------------------------

    def _slice(self, deadline: float) -> float:
        return max(0.0, min(SLICE, deadline - monotonic(), self._inboxes.pause()))

    def _ready(self, budget: Budget) -> list[Delivery]:
        """What was given back, what is due, and what was read beyond an earlier budget."""
        found: list[Delivery] = []
        size = 0
        for share in list(self._shares.values()):
            while share.returned and len(found) < budget.events and size < budget.size:
                if share.returned[0][1].handler not in (None, *budget.handlers):
                    break  # Its inbox is not followed any more.
                found.append(heappop(share.returned)[1])
                size += len(found[-1].data)
        found += self._inboxes.due(budget.events - len(found), budget.handlers)
        while self._buffer and len(found) < budget.events and size < budget.size:
            delivery = self._buffer.popleft()
            if not is_lost(delivery):
                found.append(delivery)
                size += len(delivery.data)
        return found

    def _read(self, budget: Budget, timeout: float) -> list[Delivery]:
        assert self._client is not None
        try:
            first = self._client.poll(timeout)
            if first is None:
                self._standstill.dry += timeout
                self._commit()
                return []
            messages = [first]
            number = min(budget.events, int(budget.size / self._mean)) - 1
            if number > 0:
                messages += self._client.consume(number, 0)
        except (KafkaException, RuntimeError) as error:
            # What the client had taken out of its queue is gone with it.
            raise TransportUnavailable(f"{self._options.name}: {error}") from None
        self._trouble.works()
        found = self._taken(messages)
        if len(found) > 1:
            return self._within(found, budget)
        return found

    def _within(self, found: list[Delivery], budget: Budget) -> list[Delivery]:
        sizes = [len(delivery.data) for delivery in found]
        size = sum(sizes)
        if size > budget.size:
            number = max(1, bisect(list(accumulate(sizes)), budget.size))
            self._buffer.extend(found[number:])
            return found[:number]
        self._mean += (size / len(found) - self._mean) / 4 + 1
        return found

    def _taken(self, messages: list[Message]) -> list[Delivery]:
        found: list[Delivery] = []
        shares = self._shares
        for message in messages:
            topic, offset = message.topic(), message.offset()
            share = shares.get((topic, message.partition()))  # type: ignore[arg-type]
            if message.error() is not None:
                self._problem(message.error(), share, offset or 0)
                continue
            if share is None or not share.takes(offset):  # type: ignore[arg-type]
                continue
            if share.inbox:
                self._inboxes.add(message, share, offset)  # type: ignore[arg-type]
                continue
            key = message.key()
            delivery = Delivery(
                topic, message.value() or b"", None if key is None else frames.key_of(key),  # type: ignore[arg-type]
                (share, offset), origin="",
            )
            if offset < share.suspects:  # type: ignore[operator]
                share.suspect(delivery, offset)  # type: ignore[arg-type]
            found.append(delivery)
        return found

    def _problem(self, error: KafkaError | None, share: Share | None, offset: int) -> None:
        assert error is not None
        if error.code() == KafkaError._PARTITION_EOF:
            if share is not None:
                share.reached(offset)
        elif error.code() in MISSING:
            self._seen = -1
            self._registry.look_soon()
        elif error.code() != KafkaError._MAX_POLL_EXCEEDED:
            known = translate(error, self._options.name)
            if error.fatal() or not isinstance(known, TransportUnavailable):
                self._failure = known
            else:
                logger.info("%s", known)

    def _give_back(self, delivery: Delivery) -> None:
        share, offset = delivery.receipt
        again = Delivery(
            delivery.topic, delivery.data, delivery.key, delivery.receipt, delivery.handler,
            delivery.attempt, delivery.deaths, delivery.started, delivery.first_failed_at,
            origin=delivery.origin,
        )
        share.give_back(offset, again)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            assert self._client is not None
            self._client.resume(self._client.assignment())

    @property
    def connected(self) -> bool:
        """Whether brokers answer, as far as is known."""
        return not self._trouble.down

    def _check(self) -> None:
        if self._trouble.down:
            # Without events and commits nothing else tells.
            if self._catalogue.looked_at > self._trouble.down_at + AGAIN:
                self._trouble.works()
            else:
                self._registry.look_soon()
        self._trouble.check()
        if self._standstill.found is not None:
            raise self._trouble.unavailable(f"nothing comes from {self._standstill.found} any more")
        if self._failure is not None:
            raise self._failure

    def _compare(self) -> None:
        """With where the partitions end; called by the registry's thread, never raises."""
        positions = {place: share.next for place, share in list(self._shares.items())}
        try:
            ends = self._admin.ends_now(positions) if positions else {}
        except (EventBusError, KafkaException):
            ends = {}  # Without an answer nothing is known.
        self._standstill.compare(positions, ends)

    # -- membership --------------------------------------------------------------------------

    def _follow(self) -> None:
        """Subscribe to what there is now for the subscription and the handlers here."""
        catalogue = self._catalogue
        if self._registry.read and self._registry.find(self._id) is None:
            raise self._trouble.unavailable("the subscription has vanished")
        if self._seen == catalogue.version and self._wanted == self._handlers:
            return
        if monotonic() < self._follow_at:
            return
        # Each change is a rebalance: those that come together are one.
        self._follow_at = monotonic() + SETTLED
        self._seen, self._wanted = catalogue.version, self._handlers
        there = catalogue.topics
        inboxes = [names.inbox(self._id, handler) for handler in (None, *self._handlers)]
        topics = sorted(catalogue.matching(self._id)) + [n for n in inboxes if n in there]
        self._notice_other_topics()
        if topics == self._topics:
            return
        self._topics = topics
        assert self._client is not None
        if topics:
            self._client.subscribe(
                topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        else:
            self._client.unsubscribe()

    def _notice_other_topics(self) -> None:
        """A topic that was deleted and made again is read from its start."""
        for share in self._shares.values():
            about = self._catalogue.topics.get(share.topic)
            if about is not None and about.id != share.note.topic:
                self._failure = TransportUnavailable(
                    f"{self._options.name}: topic {share.topic!r} was deleted and made again"
                )

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client in the middle of a read, or of its close; must not raise."""
        if self._closing or not partitions:
            # A client that closes answers no question before its timeout.
            return
        try:
            self._take_up(client, partitions)
        except Exception as error:
            known = isinstance(error, TransportError)
            self._failure = error if known else TransportUnavailable(str(error))

    def _take_up(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        birth = self._registry.find(self._id)
        if birth is None:
            raise TransportUnavailable(f"{self._options.name}: the subscription has vanished")
        try:
            found = client.committed(partitions, timeout=ANSWER_TIMEOUT)
        except KafkaException as error:
            raise translate(error, self._options.name) from None
        topics = self._catalogue.topics
        missing = {p.topic for p in partitions} - topics.keys()
        if missing:
            topics = self._catalogue.look()
        # A killed member may have written there what it could not commit.
        self._registry.sync()
        kept = self._registry.progress
        group = names.group_of(self._id)
        taken = []
        for place in found:
            if place.error is not None:
                raise translate(place.error, self._options.name)
            progress = kept.get(names.progress(group, place.topic, place.partition))
            beside = (progress, self._left.get((place.topic, place.partition)))
            share = taken_up(place, birth, topics.get(place.topic), self._owner, beside)
            share.inbox = place.topic.startswith(names.INBOX)
            self._shares[place.topic, place.partition] = share
            taken.append(share)
        begin = [TopicPartition(s.topic, s.partition, s.next) for s in taken]
        if self._cooperative:
            client.incremental_assign(begin)
        else:
            client.assign(begin)
        if self._paused:
            client.pause(begin)
        self._trouble.works()
        assert self._commits is not None
        self._commits.take_up(taken)

    @property
    def _cooperative(self) -> bool:
        config = self._options.config
        return config.protocol == "consumer" or config.assignor == "cooperative-sticky"

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client; must not raise."""
        try:
            shares = self._held(partitions)
            if not self._closing:
                self._surrender(shares, PATIENCE)
                self._give_up(shares)
        except Exception as error:
            self._failure = error
        finally:
            self._forget(partitions)

    def _surrender(self, shares: list[Share], seconds: float) -> None:
        """Let what runs finish, so that the next owner need not do it again."""
        if any(share.pending for share in shares):
            mine = set(map(id, shares))
            self.surrender(lambda d: d.receipt is not None and id(d.receipt[0]) in mine, seconds)

    def _give_up(self, shares: list[Share]) -> None:
        if self._commits is not None and shares:
            self._commits.give_up(shares)

    def _lost(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client: a commit would be refused, and a peer may have them already."""
        self._trouble.silent()
        try:
            if not self._closing:
                self._leave(self._held(partitions))
        except Exception as error:
            logger.debug("what was lost could not be looked through: %s", error)
        finally:
            self._forget(partitions)

    def _leave(self, shares: list[Share]) -> None:
        """Begin nothing more, and remember what is done: often they come back to this member.

        All of the group join again before anybody gets them, and read then what is written here.
        """
        self._surrender(shares, 0.0)
        for share in shares:
            self._left[share.topic, share.partition] = Progress(*share.position(False))
        if self._commits is not None:
            self._commits.lost(shares)

    def _held(self, partitions: list[TopicPartition]) -> list[Share]:
        places = [(place.topic, place.partition) for place in partitions]
        return [self._shares[place] for place in places if place in self._shares]

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            share = self._shares.pop((place.topic, place.partition), None)
            if share is not None:
                share.alive = False
                share.returned.clear()

    # -- commits -----------------------------------------------------------------------------

    def _commit(self) -> None:
        if self._commits is not None and self._client is not None:
            self._commits.begin()

    def _committed(self, error: KafkaError | None, partitions: Any) -> None:
        """Called by the client; must not raise."""
        if self._commits is not None:
            self._commits.ended(error, partitions)


def _keep(concerned: Callable[[Delivery], bool], seconds: float) -> None:
    """Nobody has to be asked."""

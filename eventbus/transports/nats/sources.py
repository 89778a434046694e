"""What a subscription reads through: a consumer on each of its streams, and one for each inbox."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from time import monotonic
from typing import Any

from nats.aio.msg import Msg

from ...patterns import matcher
from ..base import Delivery, SubscriptionId
from . import frames, names
from .link import STATUS, Link

#: Seconds for which the server keeps an unanswered pull: so long it may serve one whose member
#: has no room any more. For a third of the lease at most, or a dead member's pulls would be
#: served once more.
EXPIRES = 3.0
#: Seconds without an answer after which it is certain that none will come.
SILENCE = 5.0
#: Seconds for which a pull waits that is made for its answer only.
LOOK = 0.001
#: Seconds after a refused pull before the next one.
REFUSED = 0.2


class Receipt:
    """A message that is ours until its lease ends, if nobody renews it."""

    __slots__ = (
        "__weakref__", "acked_at", "delivered", "digest", "early", "marked", "reply", "sequence",
        "source", "until",
    )

    def __init__(self, source: Source, reply: str, until: float) -> None:
        self.source = source
        self.reply = reply
        self.delivered, self.sequence = frames.position(reply)
        self.until = until
        #: Runs alone: the mark is to be taken away with the outcome.
        self.marked = False
        #: Was delivered once only to learn when it is due.
        self.early = False
        #: See `Memory`.
        self.digest = 0
        self.acked_at: float | None = None

    @property
    def place(self) -> tuple[str, str, int]:
        """Which event it is, for whom: the same in every delivery."""
        return self.source.durable, self.source.epoch, self.sequence

    @property
    def mark(self) -> str:
        """Subject of the mark that it runs alone."""
        return names.started(self.source.durable, self.source.epoch, self.sequence)


class Source:
    """One durable consumer, with the pulls that wait on it.

    Args:
        subscription: whose.
        stream: where it is.
        epoch: of that stream.
        about: what the server knows of the consumer.
        handler: token of the handler whose inbox it is; `None` for a stream of events.
        stir: called when there is something to hand over, or to ask for.
        lease_from: tells since when a message that comes now may have been ours.
    """

    def __init__(
        self, subscription: SubscriptionId, stream: str, epoch: str, about: dict[str, Any],
        handler: str | None, stir: Callable[[], None], lease_from: Callable[[], float],
    ) -> None:
        self.subscription = subscription
        self.stream = stream
        self.epoch = epoch
        self.durable: str = about["name"]
        self.created: str = about["created"]
        self.lease: float = about["config"]["ack_wait"] / 1e9
        self.handler = handler
        self.ready: deque[Delivery] = deque()
        #: Delivered before, so to be looked at first.
        self.again: list[Delivery] = []
        #: Where to ack what is not for us, because the filter is broader than the pattern, and
        #: where to send back what is not due yet, with the seconds until it is.
        self.unmatched: list[str] = []
        self.early: list[tuple[str, float]] = []
        #: Messages asked for that have not come yet.
        self.asked = 0
        #: A pull was refused: the consumer may be gone.
        self.suspicious = False
        self.pull_at = 0.0
        #: The next message is larger than what there was room for: it comes alone.
        self.oversized = False
        self._stir = stir
        self._looked: asyncio.Future[None] | None = None
        self._expires_at = 0.0
        self._numbers = 0
        self._inbox = ""
        self._subscribed: Any = None
        self._lease_from = lease_from
        # Always: filters of old servers, and of consumers that others have changed, are broader.
        self._matches = matcher(subscription.pattern)

    async def pull(self, link: Link, count: int, size: int) -> None:
        """Ask for messages, beside what was asked for before."""
        expires = min(EXPIRES, self.lease / 3)
        self._expires_at = monotonic() + expires + SILENCE
        await self._pull(link, count, expires, size)

    async def _pull(self, link: Link, count: int, expires: float, size: int) -> None:
        if self._subscribed is None:
            self._inbox = link.new_inbox()
            self._subscribed = await link.subscribe(f"{self._inbox}.*", self._take)
        self._numbers += 1
        self.asked += count
        self.oversized = False
        body: dict[str, int] = {"batch": count, "expires": int(expires * 1e9)}
        if count > 1:
            body["max_bytes"] = size
        link.send(
            f"{link.next_subject}.{self.stream}.{self.durable}", json.dumps(body).encode(),
            f"{self._inbox}.{self._numbers}-{count}",
        )

    @property
    def silent(self) -> bool:
        """Asked for something, and not even told that there is nothing."""
        return self.asked > 0 and monotonic() > self._expires_at

    async def close(self, link: Link) -> None:
        """Take back what was asked for; what had been sent already is taken before it returns."""
        left = await self._unsubscribe(link)
        if left:
            # A pull whose member is gone waits on the server all the same, and whatever comes
            # first is tried on it, and put back in the wrong place: by servers before 2.10 where
            # it is found after `ack_wait` only. A look at what waits removes it.
            self._looked = link.loop.create_future()
            await self._pull(link, 1, LOOK, 0)
            await self._looked
            self._looked = None
            await self._unsubscribe(link)

    async def _unsubscribe(self, link: Link) -> int:
        """Hear no more; returns how many messages that were asked for have not come."""
        left = 0
        if self._subscribed is not None:
            subscribed, self._subscribed = self._subscribed, None
            await link.unsubscribe(subscribed)
            left, self.asked = self.asked, 0
        return left

    def waiting(self) -> list[Delivery]:
        """What was delivered and not handed over; it is the caller's business now."""
        found = [*self.again, *self.ready]
        self.again.clear()
        self.ready.clear()
        return found

    def sort(self) -> None:
        """Put what is ready in the order of the stream."""
        self.ready = deque(sorted(self.ready, key=lambda delivery: delivery.receipt.sequence))

    # -- called with each message ------------------------------------------------------------

    def _take(self, message: Msg) -> None:
        if not message.reply:
            self._status(message)
            return
        self.asked = max(0, self.asked - 1)
        receipt = Receipt(self, message.reply, self._lease_from() + self.lease)
        delivery = self._event(message, receipt) if self.handler is None else (
            self._parked(message, receipt)
        )
        if delivery is None:
            pass
        elif receipt.delivered > 1:
            self.again.append(delivery)
        else:
            self.ready.append(delivery)
        self._stirred()

    def _event(self, message: Msg, receipt: Receipt) -> Delivery | None:
        if not self._matches(message.subject):
            self.unmatched.append(message.reply)
            return None
        key = frames.key(message.headers)
        return Delivery(message.subject, message.data, key, receipt, origin="")

    def _parked(self, message: Msg, receipt: Receipt) -> Delivery | None:
        entry = frames.unpack_inbox(message.data)
        pause = (entry.due - datetime.now(timezone.utc)).total_seconds()
        if pause > 0:
            self.early.append((message.reply, pause))
            return None
        receipt.early = entry.early
        return Delivery(
            entry.topic, entry.data, entry.key, receipt, handler=entry.handler,
            attempt=entry.attempt, deaths=entry.deaths, first_failed_at=entry.first_failed_at,
            origin=entry.origin,
        )

    def _status(self, message: Msg) -> None:
        """A pull has ended: with a timeout, or because there is no such consumer any more."""
        headers = message.headers or {}
        if headers.get(STATUS) == "100":
            return
        if "Exceeds MaxBytes" in headers.get("Description", ""):
            self.oversized = True
        left = headers.get("Nats-Pending-Messages")
        if left is None:
            self.suspicious = True
            self.pull_at = monotonic() + REFUSED
            left = message.subject.rpartition("-")[2]
        self.asked = max(0, self.asked - int(left))
        self._stirred()

    def _stirred(self) -> None:
        if self._looked is not None and not self._looked.done():
            self._looked.set_result(None)
        self._stir()

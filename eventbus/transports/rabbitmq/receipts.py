"""What a member holds: messages by their tag on one channel of one session."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pika import spec

from ...patterns import is_literal
from ..base import Delivery, SubscriptionId
from . import frames
from .channel import Channel, Message
from .returns import Returns

if TYPE_CHECKING:
    from .taps import Tap


class Receipt:
    """A message that the server counts as ours until we ack it on the channel it came by.

    Tags begin at 1 on every channel, so a receipt is worth nothing in another session.
    """

    __slots__ = ("control", "id", "marked", "number", "tag", "tap")

    def __init__(self, tap: Tap, tag: int, id: str, control: frames.Control | None) -> None:
        self.tap = tap
        self.tag = tag
        #: Of the message among those of its subscription, in the order of arrival.
        self.number = tap.came
        self.id = id
        self.control = control
        #: Runs alone: the mark is to be taken away with the outcome.
        self.marked = False


class Holding:
    """All that was delivered on a channel and is not settled."""

    def __init__(self, channel: Channel, returns: Returns) -> None:
        self._channel = channel
        self._returns = returns
        #: In the order of the tags, which is the order of arrival.
        self._by_tag: dict[int, Delivery] = {}

    def add(self, delivery: Delivery) -> None:
        self._by_tag[delivery.receipt.tag] = delivery

    def all(self) -> Collection[Delivery]:
        return self._by_tag.values()

    def has(self, delivery: Delivery) -> bool:
        """Whether it is ours to settle: of this session, and not settled yet."""
        receipt = delivery.receipt
        return receipt is not None and self._by_tag.get(receipt.tag) is delivery

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Queue acks: one for all up to the oldest message that is still held."""
        mine = [delivery for delivery in deliveries if self.has(delivery)]
        if not mine:
            return
        self._returns.forget(mine)
        tags = sorted(map(self._remove, mine))
        oldest = next(iter(self._by_tag), tags[-1] + 1)
        below = [tag for tag in tags if tag < oldest]
        if below:
            self._channel.ack(below[-1], True)
        for tag in tags[len(below) :]:
            self._channel.ack(tag, False)

    def give_back(self, deliveries: Iterable[Delivery]) -> None:
        """Queue what makes the server offer them again, in the order of their arrival."""
        mine = [delivery for delivery in deliveries if self.has(delivery)]
        self._returns.note(mine)
        for tag in sorted(map(self._remove, mine)):
            self._channel.send(spec.Basic.Nack(tag, False, True))

    def _remove(self, delivery: Delivery) -> int:
        tag: int = delivery.receipt.tag
        del self._by_tag[tag]
        delivery.receipt.tap.settled(delivery)
        return tag


def delivery_of(message: Message, tap: Tap, returns: Returns) -> Delivery | None:
    """A message as the engine takes it; `None` where its topic is none of the subscription's."""
    id, headers = frames.read_properties(message.properties)
    deaths = returns.deaths(tap.queue, id, frames.count_of(headers)) if headers else 0
    control = frames.control_of(headers) if headers and not message.exchange else None
    receipt = Receipt(tap, message.tag, id, control)
    if control is not None:
        return Delivery(
            control.topic, message.body, control.key, receipt, handler=control.handler,
            attempt=control.attempt, deaths=control.deaths + deaths,
            first_failed_at=control.first_failed_at, origin=control.origin,
        )
    topic = message.key if message.exchange else topic_of(tap.id)
    if not tap.matches(topic):
        return None
    key = headers.get(frames.KEY) if headers else None
    return Delivery(
        topic, message.body, key if isinstance(key, str) else None, receipt, deaths=deaths,
        origin="",
    )


def topic_of(id: SubscriptionId) -> str:
    """What a message belongs to that somebody put into the queue itself."""
    return id.pattern if is_literal(id.pattern) else ""

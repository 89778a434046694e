"""What the consumer delivers in a session, and for which members."""

from __future__ import annotations

from collections.abc import Iterable

from ..transports.base import Consumer, SubscriptionId
from .member import Member


class Attached:
    """Used by the consumer thread alone.

    A subscription that is cancelled and made again has two members for a while. What has been asked
    for then comes to the second one: the consumer is told of the subscription once.
    """

    def __init__(self) -> None:
        self._members: set[Member] = set()
        self._delivered: set[SubscriptionId] = set()

    def __contains__(self, member: Member) -> bool:
        return member in self._members

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, consumer: Consumer, member: Member) -> None:
        if member.id not in self._delivered:
            consumer.attach(member.id)
            self._delivered.add(member.id)
        self._members.add(member)

    def remove(self, consumer: Consumer, member: Member, others: Iterable[Member]) -> None:
        """The subscription is detached unless it is needed by one of the others."""
        self._members.discard(member)
        needed = any(other.id == member.id for other in others)
        if member.id in self._delivered and not needed:
            self._delivered.discard(member.id)
            consumer.detach(member.id)

    def remove_all(self, consumer: Consumer) -> None:
        for id in self._delivered:
            consumer.detach(id)
        self.clear()

    def clear(self) -> None:
        """The session is gone."""
        self._members.clear()
        self._delivered.clear()

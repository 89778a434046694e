"""A live handler of this process, and the durable subscriptions on the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .patterns import check_group, with_prefix, without_prefix

if TYPE_CHECKING:
    from ._engine.engine import Engine
    from .transports.base import SubscriptionInfo


class Subscription:
    """One handler's membership of a durable subscription.

    Attributes:
        group: the consumer group.
        pattern: the pattern as it was given.
        name: the handler's name.
    """

    __slots__ = ("_cancel", "group", "name", "pattern")

    def __init__(self, group: str, pattern: str, name: str, cancel: Callable[[], None]) -> None:
        self.group = group
        self.pattern = pattern
        self.name = name
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop this handler here. The durable subscription stays and goes on collecting."""
        self._cancel()

    def __repr__(self) -> str:
        return f"Subscription(group={self.group!r}, pattern={self.pattern!r}, name={self.name!r})"


class Subscriptions:
    """The durable subscriptions of a bus's prefix, whichever process made them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prefix = engine.config.prefix

    def list(self, group: str | None = None) -> list[SubscriptionInfo]:
        """Those of one consumer group, or of all.

        Returns:
            Each with `group`, `pattern` (without the prefix), `backlog` (events not settled yet;
            `None` where the broker cannot tell) and `created_at`.

        Raises:
            TransportError: the broker did not answer.
        """
        from .transports.base import SubscriptionInfo

        wanted = None if group in (None, "*") else check_group(group)
        found = []
        for info in self._engine.list_subscriptions():
            pattern = without_prefix(self._prefix, info.pattern)
            if pattern is not None and wanted in (None, info.group):
                found.append(SubscriptionInfo(info.group, pattern, info.backlog, info.created_at))
        return found

    def drop(self, group: str, pattern: str) -> bool:
        """End a durable subscription, with all that waits in it. Its dead letters stay.

        Stop its members first: one that is still alive creates it again, from "latest".

        Returns:
            `False` if there was none.

        Raises:
            ValueError: a bad name, or a handler of it is live in this bus.
            TransportError: the broker did not answer.
        """
        from .transports.base import SubscriptionId

        id = SubscriptionId(check_group(group), with_prefix(self._prefix, pattern))
        return self._engine.drop(id)

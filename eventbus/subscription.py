"""A live handler of this process, as `subscribe` returns it."""

from __future__ import annotations

from collections.abc import Callable


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

"""A budget while it is spent."""

from __future__ import annotations

from ..base import Budget
from .window import Row, size_of


class Purse:
    """What is left of one."""

    def __init__(self, budget: Budget) -> None:
        self.count, size, self.handlers = budget
        #: At least one event can be afforded, however large.
        self.size = max(1, size)

    def is_empty(self) -> bool:
        return self.count <= 0 or self.size <= 0

    def pay(self, count: int, size: int) -> None:
        self.count -= count
        self.size -= size

    def spend(self, rows: list[Row]) -> list[Row]:
        self.pay(len(rows), size_of(rows))
        return rows

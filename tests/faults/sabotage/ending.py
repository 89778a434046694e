"""What goes wrong when a member ends, or should have settled before it did."""

from __future__ import annotations

import time
from typing import Any

from eventbus._engine.consumer import ConsumerLoop
from eventbus._engine.engine import Engine
from eventbus._engine.outcomes import Outcomes
from eventbus.transports.sqlite.transport import SQLiteTransport

from . import change


def release_lost_at_close() -> None:
    """What has not begun is forgotten instead of given back."""

    def make(_: Any) -> Any:
        def forget(self: Any, member: Any, deliveries: Any) -> None:
            for delivery in deliveries:
                member.forget(delivery)

        return forget

    change(Outcomes, "release", make)


def acks_lost_at_close() -> None:
    """What was finished last is not settled any more."""

    def make(take: Any) -> Any:
        def without(self: Any) -> Any:
            settlement = take(self)
            if self.draining:
                settlement.acks = []
            return settlement

        return without

    change(Outcomes, "take", make)


def settled_too_late() -> None:
    """Successes wait for a second."""
    change(ConsumerLoop, "_must_settle", lambda must: lambda self, now, *rest: must(
        self, now - 1.0, *rest
    ))


def close_takes_its_time() -> None:
    """Closing takes longer than it may."""

    def make(close: Any) -> Any:
        def slow(self: Any, timeout: float | None = None) -> bool:
            time.sleep(self.config.close_timeout + 2.2)
            return bool(close(self, timeout))

        return slow

    change(Engine, "close", make)


def connection_left_open() -> None:
    """The publishing connection survives the close of its bus."""
    change(SQLiteTransport, "close", lambda _: lambda self, timeout=0.0: None)


ALL = (
    release_lost_at_close, acks_lost_at_close, settled_too_late, close_takes_its_time,
    connection_left_open,
)

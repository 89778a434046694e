"""What goes wrong between a fetch and a handler's outcome."""

from __future__ import annotations

from typing import Any

from eventbus._engine import runner
from eventbus._engine.consumer import ConsumerLoop
from eventbus._engine.lanes import Lanes
from eventbus._engine.member import Member
from eventbus._engine.outcomes import Outcomes
from eventbus._engine.quarantine import Quarantine

from . import change


def ack_before_handler() -> None:
    """Events are settled as soon as they are fetched."""

    def make(admit: Any) -> Any:
        def acked(self: Any, id: Any, deliveries: Any, asked: int) -> None:
            admit(self, id, deliveries, asked)
            self._outcomes.settlement.acks.extend(deliveries)

        return acked

    change(ConsumerLoop, "_admit", make)


def drop_on_retry() -> None:
    """A failed attempt is the last one, and leaves nothing behind."""
    change(Outcomes, "_retry_or_bury", lambda _: lambda self, member, failure: self._done(
        member, failure.attempt
    ))


def success_acks_all() -> None:
    """The first handler that succeeds settles the delivery for all."""

    def make(succeed: Any) -> Any:
        def settled(self: Any, attempt: Any) -> None:
            succeed(self, attempt)
            if attempt.delivery.held is not None and attempt.delivery.held.remaining:
                self.finished.append(attempt.delivery)

        return settled

    change(Member, "succeed", make)


def lane_ignored() -> None:
    """Events of one key are handled like any others."""
    change(Lanes, "enter", lambda _: lambda self, key, delivery: True)
    change(Lanes, "leave", lambda _: lambda self, key: None)


def bystanders_buried() -> None:
    """Whatever was in the hands of a process that died is held to have killed it."""

    def make(took: Any) -> Any:
        def buried(self: Any, member: Any, delivery: Any) -> bool:
            if not delivery.deaths:
                return bool(took(self, member, delivery))
            member.hold(delivery)
            self._outcomes.crashed(member, delivery, member.bindings_for(delivery))
            return True

        return buried

    def all_are_suspects(admit: Any) -> Any:
        return lambda self, member, deliveries: [
            delivery for delivery in deliveries if not self._took(member, delivery)
        ]

    change(Quarantine, "_took", make)
    change(Quarantine, "admit", all_are_suspects)


def suspects_never_run() -> None:
    """Events that were there when processes died are kept from running, for good."""
    change(Quarantine, "step", lambda _: lambda self, consumer, settle: None)


def metadata_lost() -> None:
    """Handlers get events without their metadata."""

    def make(decode: Any) -> Any:
        def bare(*args: Any, **options: Any) -> Any:
            event = decode(*args, **options)
            return type(event)(
                event.type, event.payload, id=event.id, timestamp=event.timestamp, key=event.key,
                attempt=event.attempt,
            )

        return bare

    change(runner, "decode", make)


ALL = (
    ack_before_handler, drop_on_retry, success_acks_all, lane_ignored, bystanders_buried,
    suspects_never_run, metadata_lost,
)

"""Pauses a subscription that dead-letters one event after the other.

After a bad deploy every event fails. Fifty dead letters in a row say so as well as a million
would, and the rest of the backlog is better off where it is.
"""

from __future__ import annotations

import logging
from time import monotonic

from .member import Member
from .work import Failure

logger = logging.getLogger("eventbus.breaker")

#: Seconds between two probes of a paused subscription.
PROBE_INTERVAL = 30.0


class Breaker:
    """The state is the member's (`streak`, `probe_at`); the rules are here."""

    @staticmethod
    def success(member: Member) -> None:
        """A handler has succeeded: whatever was wrong is over."""
        member.streak = 0
        if member.state == "paused":
            member.state = "running"
            logger.warning("%s runs again: a handler has succeeded", member.label)

    @staticmethod
    def dead_letter(member: Member, failure: Failure) -> None:
        """Count it; undecodable bytes say nothing about the handler."""
        if failure.kind == "undecodable":
            return
        member.streak += 1
        limit = failure.attempt.binding.retry.pause_after
        if limit and member.streak >= limit:
            member.probe_at = monotonic() + PROBE_INTERVAL
            if member.state == "running":
                member.state = "paused"
                member.must_hand_back = True
                logger.error(
                    "%s is paused: %d dead letters in a row, the last one from %s. One event is "
                    "tried every %.0f s; the others wait in the broker",
                    member.label, member.streak, failure.attempt.binding.name, PROBE_INTERVAL,
                )

    @staticmethod
    def may_fetch(member: Member) -> int:
        """How many events a member may fetch now, by its state."""
        if member.state != "paused":
            return 1 << 30
        if member.in_flight or monotonic() < member.probe_at:
            return 0
        member.probe_at = monotonic() + PROBE_INTERVAL
        return 1

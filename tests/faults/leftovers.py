"""What is left with a broker when a run is over, for the checker."""

from __future__ import annotations

from eventbus import EventBus

from . import journal as steps
from .journal import Journal
from .load import digest


def note_leftovers(bus: EventBus, journal: Journal) -> None:
    """Write down each subscription's backlog, and each dead letter."""
    for info in bus.subscriptions.list("*"):
        journal.note(
            steps.BACKLOG, group=info.group, pattern=info.pattern, number=info.backlog or 0
        )
    for letter in bus.dead_letters.list("*"):
        journal.note(
            steps.DEAD, id=letter.event_id or "", group=letter.group, text=letter.reason,
            pattern=letter.pattern, handler=letter.handler or "", attempt=letter.attempts,
            digest=digest(letter.event) if letter.event is not None else "",
        )

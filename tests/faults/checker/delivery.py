"""I1 no loss, I2 no inventions, I3 integrity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .. import journal as steps
from .history import History, Work
from .rules import Rules, Violation


def lost(history: History) -> list[Work]:
    """Duties that ended neither in success nor in a dead letter."""
    settled = {run.work for run in history.runs if run.ok}
    # Bytes that are no event reach no handler: one dead letter stands for all of a group.
    dead = {Work(line.group, line.handler, line.id) for line in history.of[steps.DEAD]}
    return [
        work for work, _ in history.duties()
        if work not in settled and work not in dead and work._replace(handler="") not in dead
    ]


def no_loss(history: History, rules: Rules) -> Iterator[Violation]:
    """I1."""
    for work in lost(history):
        runs = len(history.by_work[work])
        yield Violation("I1", f"lost: {work.id} for {work.handler}, which ran {runs} times")
    for line in history.of[steps.BACKLOG]:
        if line.number:
            yield Violation(
                "I1", f"{line.number:.0f} events left in {line.pattern!r} of {line.group!r}"
            )
    yield from _dead_letters(history)


def _dead_letters(history: History) -> Iterator[Violation]:
    letters = Counter(
        Work(line.group, line.handler, line.id) for line in history.of[steps.DEAD]
    )
    for work, count in letters.items():
        if count > 1:
            yield Violation("I1", f"{count} dead letters of {work.id} for {work.handler}")
    for line in history.of[steps.DEAD]:
        seen = any(work.id == line.id for work in history.by_work) if line.text == "crashed" else 1
        if not seen:
            yield Violation("I1", f"{line.id} is buried as crashed, but no handler ever saw it")


def invented(history: History) -> list[str]:
    """Ids that were handled or buried although nobody published them, or publishing had failed."""
    delivered = dict.fromkeys(work.id for work in history.by_work)
    delivered.update((line.id, None) for line in history.of[steps.DEAD] if line.id)
    return [
        id for id in delivered
        if id not in history.published or history.published[id].outcome == steps.FAILED
    ]


def no_inventions(history: History, rules: Rules) -> Iterator[Violation]:
    """I2."""
    for id in invented(history):
        said = "failed" if id in history.published else "never tried"
        yield Violation("I2", f"{id} was delivered, but publishing it had {said}")


def integrity(history: History, rules: Rules) -> Iterator[Violation]:
    """I3."""
    arrived = [(run.work.id, run.digest, "a handler") for run in history.runs]
    arrived += [
        (line.id, line.digest, "the dead letters") for line in history.of[steps.DEAD] if line.id
    ]
    for id, digest, where in arrived:
        sent = history.published.get(id)
        if sent is not None and sent.digest != digest:
            yield Violation("I3", f"{id} is not in {where} as it was sent")

"""I7 no hangs and no lies, I8 resources, I9 logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .. import journal as steps
from .history import History, Life
from .recovery import outages
from .rules import Rules, Violation

#: Lines that one process may log about an outage at once; after that one per second.
BURST = 5
#: What the bus logs when an exception reaches a place where none should.
OUR_FAULT = "You have found a bug"


def no_hangs(history: History, rules: Rules) -> Iterator[Violation]:
    """I7."""
    for event in history.published.values():
        if event.outcome and event.done - event.at > rules.publish:
            yield Violation("I7", f"publishing {event.id} took {event.done - event.at:.1f} s")
        elif not event.outcome and history.life(event.who).killed is None:
            yield Violation("I7", f"publishing {event.id} never returned")
    for life in history.lives.values():
        yield from _ends(life, rules)


def _ends(life: Life, rules: Rules) -> Iterator[Violation]:
    if life.killed is not None and life.closing is None:
        return
    if life.closing is not None:
        limit = life.closing.number + rules.close_grace
        end = life.closed or life.killed
        if end is None:
            yield Violation("I7", f"{life.who} never finished to close")
        elif end - life.closing.at > limit:
            yield Violation("I7", f"{life.who} took {end - life.closing.at:.1f} s to close")
    if life.exit not in (None, 0) and life.killed is None:
        yield Violation("I7", f"{life.who} ended with exit code {life.exit}")


def resources(history: History, rules: Rules) -> Iterator[Violation]:
    """I8."""
    before = {line.who: line.more for line in history.of[steps.RESOURCES] if line.text == "before"}
    for line in history.of[steps.RESOURCES]:
        if line.text != "after" or line.who not in before:
            continue
        then = before[line.who]
        for name, slack in (("threads", rules.threads), ("files", rules.files)):
            if line.more[name] > then[name] + slack:
                yield Violation(
                    "I8", f"{line.who} has {line.more[name]:.0f} {name}, before {then[name]:.0f}"
                )
        if line.more["resident"] > then["resident"] * rules.memory:
            yield Violation("I8", f"{line.who} has grown to {line.more['resident']:.0f} bytes")


def logs(history: History, rules: Rules) -> Iterator[Violation]:
    """I9. What handlers do is theirs: only what the bus says of itself is counted."""
    for line in history.of[steps.LOG]:
        if any(canary in line.text for canary in rules.canaries):
            yield Violation("I9", f"{line.who} has logged a secret")
        if OUR_FAULT in line.text:
            yield Violation("I9", f"{line.who} met a fault of the bus itself: {line.text}")
    for outage in outages(history):
        said = Counter(
            line.who for line in history.of[steps.LOG]
            if outage.begin <= line.at <= outage.end and " eventbus.handler:" not in line.text
        )
        for who, count in said.items():
            if count > BURST + (outage.end - outage.begin):
                yield Violation("I9", f"{who} has logged {count} lines during {outage.name}")

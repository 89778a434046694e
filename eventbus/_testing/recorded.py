"""What was published, and assertions about it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, overload

from ..event import Event
from .texts import line, show, times
from .wanted import ANY, Wanted, near_misses

#: How many events a failure message lists.
LISTED = 50


class Recorded(Sequence[Event]):
    """The events that were published, in order, with payloads as handlers get them.

    The filters of all methods are the same: a pattern for the type (wildcards allowed); `payload`
    and `key`, compared as a whole (`ANY` stands for any value, inside a payload too; datetime, UUID
    and Decimal equal the text they become); `metadata`, entries that have to be there; and `where`,
    a function that is true for an event.
    """

    def __init__(self, source: str = "the bus") -> None:
        self._source = source
        self._events: list[Event] = []
        self._changed = threading.Condition()

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __repr__(self) -> str:
        return f"<published on {self._source}: {show(self.types)}>"

    @property
    def types(self) -> list[str]:
        """The type of each event, in order."""
        return [event.type for event in list(self._events)]

    def clear(self) -> None:
        """Forget what was published so far."""
        with self._changed:
            self._events.clear()

    def matching(
        self, pattern: str = "**", *, payload: Any = ANY, key: Any = ANY,
        metadata: Mapping[str, Any] | None = None, where: Callable[[Event], object] | None = None,
    ) -> list[Event]:
        """The events that pass all filters, in order."""
        return self._select(Wanted(pattern, payload, key, metadata or {}, where))

    def assert_published(
        self, pattern: str, *, payload: Any = ANY, key: Any = ANY,
        metadata: Mapping[str, Any] | None = None, where: Callable[[Event], object] | None = None,
        count: int | None = None, timeout: float = 0.0,
    ) -> list[Event]:
        """Return the events that pass all filters; there has to be one at least.

        Args:
            pattern, payload, key, metadata, where: see the class.
            count: how many there have to be, exactly.
            timeout: seconds to wait for them, where they are published by another thread.

        Raises:
            AssertionError: there is none, or not as many; it lists what was published.
            ValueError: that is no pattern.
        """
        __tracebackhide__ = True
        wanted = Wanted(pattern, payload, key, metadata or {}, where)
        self._wait(lambda: len(self._select(wanted)) >= (count or 1), timeout)
        found = self._select(wanted)
        if len(found) == count or (count is None and found):
            return found
        text = f"{wanted} was {times(len(found))}"
        text += f", expected: {count}" if count is not None else ""
        raise AssertionError(self._report(text, wanted, near=len(found) < (count or 1)))

    def assert_not_published(
        self, pattern: str, *, payload: Any = ANY, key: Any = ANY,
        metadata: Mapping[str, Any] | None = None, where: Callable[[Event], object] | None = None,
    ) -> None:
        """Fail if there is an event that passes all filters.

        Raises:
            AssertionError: there is one; it lists what was published.
        """
        __tracebackhide__ = True
        wanted = Wanted(pattern, payload, key, metadata or {}, where)
        if found := self._select(wanted):
            text = f"{wanted} was {times(len(found))}; it should not have been"
            raise AssertionError(self._report(text, wanted))

    def assert_nothing_published(self) -> None:
        """Fail if there is any event.

        Raises:
            AssertionError: it lists what was published.
        """
        __tracebackhide__ = True
        if self:
            raise AssertionError(self._report("nothing should have been published"))

    # -- internal ----------------------------------------------------------------------------

    def _add(self, events: Sequence[Event]) -> None:
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()

    def _drop(self, events: Sequence[Event]) -> None:
        gone = set(map(id, events))
        with self._changed:
            self._events[:] = [event for event in self._events if id(event) not in gone]

    def _wait(self, ready: Callable[[], bool], timeout: float) -> None:
        deadline = monotonic() + timeout
        with self._changed:
            while not ready() and (left := deadline - monotonic()) > 0:
                self._changed.wait(left)

    def _select(self, wanted: Wanted) -> list[Event]:
        return [event for event in list(self._events) if wanted.matches(event)]

    def _report(self, text: str, wanted: Wanted | None = None, near: bool = False) -> str:
        events = list(self._events)
        if not events:
            return f"{text}\nnothing was published on {self._source}"
        lines = [text]
        if wanted is not None and near:
            lines += near_misses(wanted, events)
        lines.append(f"published on {self._source}, in order:")
        for number, event in enumerate(events[:LISTED], start=1):
            found = wanted is not None and wanted.matches(event)
            lines.append(line(number, event, ">" if found else " "))
        if len(events) > LISTED:
            lines.append(f"  ... and {len(events) - LISTED} more")
        return "\n".join(lines)

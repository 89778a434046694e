"""The streams of events: which there are, and making them cover what is published.

A stream may be anybody's: where one covers a topic already, it is used under whatever name it
has. Ours grow: under a prefix one stream has all of it, and without a prefix one stream gets the
first segment of each new topic (`user` and `user.>`), since servers refuse a stream of everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...errors import TransportUnavailable
from . import filters, names
from .books import SECOND, WINDOW, config
from .errors import IN_USE, NO_STREAM, OVERLAP, Refused
from .link import Link
from .lock import Lock

#: Tries to change a stream that others change meanwhile.
TRIES = 20


class Stream(NamedTuple):
    """A stream of events on the server."""

    name: str
    created: str
    subjects: tuple[str, ...]
    first: int
    last: int
    config: dict[str, Any]

    @property
    def epoch(self) -> str:
        return names.epoch(self.name, self.created)

    def covers(self, subject: str) -> bool:
        return any(filters.covers(mine, subject) for mine in self.subjects)

    def collides(self, subject: str) -> bool:
        return any(filters.collide(mine, subject) for mine in self.subjects)


async def event_streams(link: Link) -> list[Stream]:
    """All streams that may hold events: not our own books, nor NATS's stores of other things."""
    found: list[Stream] = []
    total = 1
    offset = 0
    while offset < total:
        page = await link.api("STREAM.LIST", {"offset": offset})
        total, offset = page["total"], offset + page["limit"]
        found += [_stream(info) for info in page.get("streams") or ()]
    return [stream for stream in found if _holds_events(stream)]


def _stream(info: dict[str, Any]) -> Stream:
    config = info["config"]
    return Stream(
        config["name"], info["created"], tuple(config.get("subjects") or ()),
        info["state"]["first_seq"], info["state"]["last_seq"], config,
    )


def _holds_events(stream: Stream) -> bool:
    own_books = stream.name.startswith("_eventbus_")
    # Others forget what is acked, or are fed by other streams: reading would take from somebody.
    keeps = stream.config.get("retention") == "limits"
    return keeps and not own_books and not stream.name.startswith(("KV_", "OBJ_", "$"))


async def stream_info(link: Link, name: str) -> Stream | None:
    try:
        return _stream(await link.api(f"STREAM.INFO.{name}"))
    except Refused as error:
        if error.code == NO_STREAM:
            return None
        raise


class Streams:
    """Makes streams cover topics and patterns.

    Args:
        prefix: of the bus.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = Lock()

    async def cover_topic(self, link: Link, topic: str) -> str:
        """Make sure that a stream has this topic; return its name."""
        for _ in range(TRIES):
            streams = await event_streams(link)
            for stream in streams:
                if stream.covers(topic):
                    return stream.name
            await self._extend(link, streams, *self._wanted(topic), topic)
        raise TransportUnavailable(f"{link.name}: the streams are being changed all the time")

    async def cover_pattern(self, link: Link, pattern: str) -> list[Stream]:
        """Make sure that topics of this pattern will have a stream; return all that may."""
        name, subjects = self._wanted(pattern)
        for _ in range(TRIES):
            streams = await event_streams(link)
            by_name = {stream.name: stream for stream in streams}
            open_ones = [
                subject for subject in subjects
                if not any(stream.collides(subject) for stream in streams)
            ]
            if not open_ones and (subjects or name in by_name):
                return [stream for stream in streams if concerns(stream, pattern)]
            await self._extend(link, streams, name, open_ones, None)
        raise TransportUnavailable(f"{link.name}: the streams are being changed all the time")

    def _wanted(self, pattern: str) -> tuple[str, list[str]]:
        """The stream that should have it, and the subjects for that."""
        if self._prefix and pattern.startswith(f"{self._prefix}."):
            return names.events_stream(self._prefix), [f"{self._prefix}.>"]
        first = filters.first_segment(pattern)
        return names.EVENTS, [] if first is None else [first, f"{first}.>"]

    async def _extend(
        self, link: Link, streams: Sequence[Stream], name: str, subjects: Sequence[str],
        topic: str | None,
    ) -> None:
        """Add what subjects other streams leave free; the topic alone if that does not cover it."""
        others = [stream for stream in streams if stream.name != name]
        free = [s for s in subjects if not any(other.collides(s) for other in others)]
        if topic is not None and not any(filters.covers(subject, topic) for subject in free):
            free.append(topic)
        async with self._lock.held(link):
            try:
                await _grow(link, name, free)
            except Refused as error:
                if error.code not in (OVERLAP, IN_USE):
                    raise
                # Somebody was faster, or a foreign stream has come between: look again.
        link.send(names.BELL)


async def _grow(link: Link, name: str, subjects: Sequence[str]) -> None:
    """Create the stream, or add to its subjects."""
    stream = await stream_info(link, name)
    if stream is None:
        await link.api(f"STREAM.CREATE.{name}", event_config(link, name, subjects))
        return
    missing = _reduced([subject for subject in subjects if not stream.covers(subject)])
    if missing:
        kept = [s for s in stream.subjects if not any(filters.covers(m, s) for m in missing)]
        await link.api(f"STREAM.UPDATE.{name}", {**stream.config, "subjects": [*kept, *missing]})


def _reduced(subjects: Iterable[str]) -> list[str]:
    """Without those that others cover: the subjects of a stream must not overlap."""
    unique = list(dict.fromkeys(subjects))
    return [
        one for one in unique
        if not any(other != one and filters.covers(other, one) for other in unique)
    ]


def concerns(stream: Stream, pattern: str) -> bool:
    """Whether a stream may have topics that match the pattern, now or after it has grown."""
    wanted, _ = filters.subject_filters(pattern)
    if any(stream.collides(subject) for subject in wanted):
        return True
    # Without a first segment to add, the pattern is about whatever this stream will have.
    return stream.name == names.EVENTS and filters.first_segment(pattern) is None


def event_config(link: Link, name: str, subjects: Sequence[str]) -> dict[str, Any]:
    """Nothing is ever discarded silently: there is no limit, and behind one that an operator
    sets, new events are refused."""
    first = [names.PLACEHOLDER] if name == names.EVENTS else []
    return config(
        link, name, [*first, *subjects], discard="new", duplicate_window=WINDOW * SECOND
    )


async def gather(link: Link, requests: Iterable[tuple[str, object]]) -> list[Any]:
    """Ask JetStream several things in one round trip; refusals are among the answers."""
    waiting = [await link.api_soon(subject, body) for subject, body in requests]
    return await asyncio.gather(*map(_or_refusal, waiting))


async def _or_refusal(answer: Any) -> Any:
    try:
        return await answer
    except Refused as refused:
        return refused

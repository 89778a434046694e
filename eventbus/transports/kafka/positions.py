"""Where to begin with a partition: at what was committed for this life of it, or at its birth."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import TopicPartition

from .admin import Topic
from .notes import Note, Skips, unpack
from .progress import Progress, merged, note_of
from .registry import Birth
from .share import Share


def known(
    committed: TopicPartition | None, birth: Birth, about: Topic | None
) -> tuple[int, Note | None]:
    """The offset to begin at, and what the last owner has left of its story."""
    if committed is not None and committed.offset >= 0:
        note = unpack(committed.metadata)
        if note is None:
            return committed.offset, None  # A member in another language, or an operator.
        if note.birth == birth.key and about is not None and note.topic == about.id:
            return committed.offset, note
    topic, partition = (committed.topic, committed.partition) if committed else ("", 0)
    return birth.begin(topic, about, partition), None


def share(
    place: TopicPartition, birth: Birth, about: Topic | None, owner: str,
    beside: Sequence[Progress | None] = (),
) -> Share:
    """A partition as it is taken up by a process.

    Args:
        beside: what is known of it and was not committed.
    """
    offset, left = known(place, birth, about)
    note = Note(birth.key, about.id if about else "", owner)
    done = left.done if left else []
    for progress in beside:
        offset, done = merged(offset, done, progress, note.birth, note.topic)
    skips = Skips(offset, done)
    if left is not None:
        later = [
            kept for p in beside if p is not None and p.offset >= place.offset
            and (kept := note_of(p, note.birth, note.topic)) is not None
        ]
        _remember(note, left, later, offset)
    return Share(place.topic, place.partition, offset, note, skips)


def _remember(note: Note, left: Note, later: Sequence[Note], offset: int) -> None:
    """How often members have vanished while the offset stood still."""
    note.deaths, note.counted = left.deaths, left.counted
    clean = left.clean or any(n.clean and n.owner == left.owner for n in later)
    if not clean and left.owner != note.owner:
        note.deaths = left.deaths + 1 if left.counted == offset else 1
        note.counted = offset
        started = (n.started for n in (left, *later) if n.started is not None)
        note.started = next(started, None)
    elif left.counted != offset:
        note.deaths = 0

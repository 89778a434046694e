"""Where to begin with a partition: at what was committed for this life of it, or at its birth."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import TopicPartition

from .notes import Note, Skips, unpack
from .progress import Progress, merged, note_of
from .registry import Birth
from .share import Share
from .topics import Topic


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
    written = [
        (progress, found) for progress in beside if progress is not None
        and (found := note_of(progress, note.birth, note.topic)) is not None
    ]
    note.term = 1 + max((n.term for n in (left, *(n for _, n in written)) if n), default=0)
    if left is None and place.offset >= 0 and unpack(place.metadata) is None:
        written = []  # Whoever set the offset by hand means it.
    done = left.done if left else []
    for progress, found in written:
        offset, done = merged(offset, done, progress, found)
    later = [n for progress, n in written if progress.offset >= place.offset]
    _remember(note, [left, *later] if left else later, offset)
    return Share(place.topic, place.partition, offset, note, Skips(offset, done))


def _remember(note: Note, notes: Sequence[Note], offset: int) -> None:
    """How often members have vanished while the offset stood still.

    Args:
        notes: of former owners; of two with the same term, what was committed is first.
    """
    if not notes:
        return
    last = max(notes, key=lambda n: n.term)
    story = [n for n in notes if (n.term, n.owner) == (last.term, last.owner)]
    note.deaths, note.counted = last.deaths, last.counted
    clean = any(n.clean for n in story)
    if not clean and last.owner != note.owner:
        note.deaths = last.deaths + 1 if last.counted == offset else 1
        note.counted = offset
        note.started = next((n.started for n in story if n.started is not None), None)
    elif last.counted != offset:
        note.deaths = 0

"""Where to begin with a partition: at what was committed for this life of it, or at its birth."""

from __future__ import annotations

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
    progress: Progress | None = None,
) -> Share:
    """A partition as it is taken up by a process."""
    offset, left = known(place, birth, about)
    note = Note(birth.key, about.id if about else "", owner)
    done = left.done if left else []
    offset, done = merged(offset, done, progress, note.birth, note.topic)
    skips = Skips(offset, done)
    if left is not None:
        note.deaths, note.counted = left.deaths, left.counted
        if not left.clean and left.owner != owner:
            note.deaths = left.deaths + 1 if left.counted == offset else 1
            note.counted = offset
            kept = note_of(progress, note.birth, note.topic)
            note.started = kept.started if left.started is None and kept else left.started
        elif left.counted != offset:
            note.deaths = 0
    return Share(place.topic, place.partition, offset, note, skips)

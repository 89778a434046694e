"""What is settled and cannot be committed now, kept where peers see it.

While a group waits for a member that was killed, for the length of its session, the broker answers
nothing else on the connections of the others: their commits come too late, and are refused. So they
write to the registry, which all members follow. That something is settled stays true for ever, so
whoever writes, and however late, does no harm.
"""

from __future__ import annotations

import msgspec

from . import notes
from .notes import Note, Skips


class Progress(msgspec.Struct, array_like=True):
    """What a commit would have said.

    Attributes:
        offset: everything below is settled.
        note: the metadata.
    """

    offset: int
    note: str


pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(Progress).decode


def unpack(data: bytes) -> Progress | None:
    try:
        return _unpack(data)
    except msgspec.MsgspecError:
        return None


def note_of(progress: Progress | None, birth: str, topic: str) -> Note | None:
    """Its note, if it belongs to this life of a subscription and of a topic."""
    note = notes.unpack(progress.note) if progress is not None else None
    return note if note is not None and (note.birth, note.topic) == (birth, topic) else None


def merged(
    offset: int, done: list[int], progress: Progress, note: Note
) -> tuple[int, list[int]]:
    """The position and what is done above it, with what was written meanwhile.

    Args:
        note: of `progress`.
    """
    known = [Skips(offset, done), Skips(progress.offset, note.done)]
    lowest = max(offset, progress.offset)
    while any(lowest in skips for skips in known):
        lowest += 1
    end = max(lowest, *(skips.end for skips in known))
    unfinished = [n for n in range(lowest, end) if not any(n in skips for skips in known)]
    return lowest, notes.ranges(lowest, end, unfinished)

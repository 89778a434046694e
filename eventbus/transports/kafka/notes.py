"""What travels with a commit, as its metadata: the partition's story, for whoever takes it up.

A commit says only that everything below an offset is settled. What is settled above it, whose hands
the partition was in, and how often it changed hands without getting on, would be forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

#: Bytes of metadata that a broker takes by default.
LIMIT = 4_000


class Note(msgspec.Struct, array_like=True):
    """The metadata of one commit.

    Attributes:
        birth: which life of the subscription it belongs to.
        topic: id of the topic: another one of the same name begins anew.
        owner: process that commits.
        clean: it has given the partition back by itself.
        deaths: how often a member vanished while the offset was `counted`.
        started: offset of the suspect that runs alone now.
        done: settled above the offset: numbers of offsets to skip and to take, in turns.
        term: how often the partition was taken up: of two notes, the higher is the later.
    """

    birth: str
    topic: str
    owner: str
    clean: bool = False
    deaths: int = 0
    counted: int = -1
    started: int | None = None
    done: list[int] = []
    term: int = 0


_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(Note).decode


def pack(note: Note) -> str:
    """As text; ranges that do not fit are left out, and their events come again."""
    while len(text := _pack(note)) > LIMIT:
        note.done = note.done[: len(note.done) // 4 * 2]
    return text.decode()


def unpack(text: str | None) -> Note | None:
    """A note of ours; `None` for what members in other languages commit."""
    try:
        return _unpack(text) if text else None
    except msgspec.MsgspecError:
        return None


def ranges(lowest: int, end: int, unfinished: Iterable[int]) -> list[int]:
    """What is done from `lowest`, which is not, up to `end`: how many are not, are, are not, ..."""
    found: list[int] = []
    expected = start = lowest
    for offset in unfinished:
        if offset != expected:
            found += (expected - start, offset - expected)
            start = offset
        expected = offset + 1
    if expected < end:
        found += (expected - start, end - expected)
    return found


class Skips:
    """The offsets that a note calls done."""

    def __init__(self, lowest: int, done: list[int]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        position = lowest
        for undone, finished in zip(done[::2], done[1::2], strict=False):
            self._starts.append(position + undone)
            position += undone + finished
            self._ends.append(position)
        self.end = position
        self.count = sum(done[1::2])

    def __contains__(self, offset: int) -> bool:
        index = bisect_right(self._starts, offset) - 1
        return index >= 0 and offset < self._ends[index]

    def below(self, offset: int) -> int:
        """How many of them lie below an offset."""
        pairs = zip(self._starts, self._ends, strict=True)
        return sum(max(0, min(end, offset) - start) for start, end in pairs)

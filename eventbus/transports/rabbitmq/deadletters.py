"""Dead letters on the server: a durable queue per group, read through and put back."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from struct import Struct
from tempfile import SpooledTemporaryFile

import msgspec

from ..base import DeadRecord
from . import names
from .errors import Missing
from .frames import unpack_dead
from .ledger import reading
from .registry import Registry
from .sender import Sender

_LENGTH = Struct(">I")
#: Bytes of a listing that stay in memory; the rest waits in a temporary file.
IN_MEMORY = 16 * 2**20


class RabbitMQDeadLetters:
    """Reads and removes them through the transport's connection."""

    def __init__(
        self, lane: Callable[[], AbstractContextManager[Sender]], registry: Registry
    ) -> None:
        self._lane = lane
        self._registry = registry

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        if group is not None:
            return self._of(group)
        groups = self._groups()
        return heapq.merge(*map(self._of, groups), key=lambda r: (r.failed_at, r.id))

    def _groups(self) -> Sequence[str]:
        return sorted({entry.group for entry in self._registry.read().entries})

    def _of(self, group: str) -> Iterator[DeadRecord]:
        with SpooledTemporaryFile(IN_MEMORY) as file:
            # In one go, since whoever reads keeps others from it; then at the caller's pace.
            ids: set[str] = set()
            with self._lane() as sender:
                try:
                    with reading(sender, names.dead(group)) as reader:
                        for id, message in reader.messages():
                            if id in ids:
                                reader.ack(message)  # Stored twice, by somebody who was cut off.
                                continue
                            ids.add(id)
                            file.write(_LENGTH.pack(len(message.body)) + message.body)
                except Missing:
                    return
            file.seek(0)
            while head := file.read(_LENGTH.size):
                record = _record(file.read(_LENGTH.unpack(head)[0]))
                if record is not None:
                    yield record

    def get(self, id: str) -> DeadRecord | None:
        for group in self._groups():
            with self._lane() as sender:
                try:
                    with reading(sender, names.dead(group)) as reader:
                        copies = [message for name, message in reader.messages() if name == id]
                        for message in copies[1:]:
                            reader.ack(message)
                except Missing:
                    continue
            if copies:
                return _record(copies[0].body)
        return None

    def remove(self, ids: Collection[str]) -> int:
        left = set(ids)
        removed = 0
        for group in self._groups() if left else ():
            removed += self._remove(group, left)
        return removed

    def _remove(self, group: str, left: set[str]) -> int:
        """Remove those of a group, and take them from `left`; stops when it is empty."""
        before = len(left)
        with self._lane() as sender:
            try:
                with reading(sender, names.dead(group)) as reader:
                    for id, message in reader.messages():
                        if id in left:
                            reader.ack(message)
                            left.discard(id)
                        if not left:
                            break
            except Missing:
                return 0
        return before - len(left)


def _record(data: bytes) -> DeadRecord | None:
    try:
        return unpack_dead(data)
    except msgspec.MsgspecError:
        return None

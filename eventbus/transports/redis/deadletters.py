"""Dead letters on the server: a hash by id, and a sorted set of ids per group."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager

import msgspec

from ..base import DeadRecord
from . import keys
from .link import Command, Link

#: Dead letters read at once: each may hold an event of a megabyte.
PAGE = 50

_unpack = msgspec.msgpack.Decoder(DeadRecord).decode


class RedisDeadLetters:
    """Reads and removes them through the transport's connection."""

    def __init__(self, lock: Callable[[], AbstractContextManager[Link]]) -> None:
        self._lock = lock

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        if group is not None:
            return self._of(group)
        with self._lock() as link:
            groups = link.call("SMEMBERS", keys.DEAD_GROUPS)
        return heapq.merge(
            *(self._of(name.decode()) for name in groups), key=lambda r: (r.failed_at, r.id)
        )

    def _of(self, group: str) -> Iterator[DeadRecord]:
        with self._lock() as link:
            ids = link.call("ZRANGE", keys.dead_ids(group), 0, -1)
        for start in range(0, len(ids), PAGE):
            with self._lock() as link:
                found = link.call("HMGET", keys.DEAD, *ids[start : start + PAGE])
            yield from (_unpack(data) for data in found if data is not None)

    def get(self, id: str) -> DeadRecord | None:
        with self._lock() as link:
            data = link.call("HGET", keys.DEAD, id)
        return None if data is None else _unpack(data)

    def remove(self, ids: Collection[str]) -> int:
        if not ids:
            return 0
        with self._lock() as link:
            found = link.call("HMGET", keys.DEAD, *ids)
            records = [_unpack(data) for data in found if data is not None]
            commands: list[Command] = [("HDEL", keys.DEAD, record.id) for record in records]
            commands += [
                ("ZREM", keys.dead_ids(record.subscription.group), record.id)
                for record in records
            ]
            removed = link.pipeline([("MULTI",), *commands, ("EXEC",)])[-1]
        return sum(removed[: len(records)])

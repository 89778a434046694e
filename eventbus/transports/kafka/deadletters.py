"""Dead letters: a compacted topic, read from its start. A record without a value removes one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ..base import DeadRecord
from . import clients, frames, names
from .admin import Admin
from .errors import translate
from .options import ANSWER_TIMEOUT, Options
from .producing import Outgoing, Producing
from .trouble import Trouble

#: Messages read at once: each may hold an event of a megabyte.
PAGE = 200
PLACE = (names.DEAD, 0)


class KafkaDeadLetters:
    """Reads with a client of its own, one for each listing that goes on."""

    def __init__(self, options: Options, admin: Admin, producing: Producing) -> None:
        self._options = options
        self._admin = admin
        self._producing = producing
        self._idle: list[tuple[Consumer, Trouble]] = []
        self._lock = Lock()

    def list(self, group: str | None) -> Iterator[DeadRecord]:
        # Where each key was removed last; after that its first record counts.
        removed = {key: m.offset() or 0 for key, m in self._read() if m.value() is None}
        seen: set[str] = set()
        for key, message in self._read():
            if (message.offset() or 0) <= removed.get(key, -1) or key in seen:
                continue
            if group is not None and key.partition("|")[0] != group:
                continue
            seen.add(key)
            record = _record(message.value())
            if record is not None:
                yield record

    def get(self, id: str) -> DeadRecord | None:
        return next((record for record in self._find({id}).values()), None)

    def _find(self, ids: Collection[str]) -> dict[str, DeadRecord]:
        """Those with these ids, by their keys."""
        found: dict[str, DeadRecord | None] = {}
        for key, message in self._read():
            if message.value() is None:
                found.pop(key, None)
            elif key not in found:
                record = _record(message.value())
                found[key] = record if record is not None and record.id in ids else None
        return {key: record for key, record in found.items() if record is not None}

    def remove(self, ids: Collection[str]) -> int:
        found = self._find(set(ids)) if ids else {}
        removals = [Outgoing(names.DEAD, None, key, partition=0) for key in found]
        if removals:
            self._producing.store(removals, ANSWER_TIMEOUT)
        return len(removals)

    def _read(self) -> Iterator[tuple[str, Message]]:
        """All messages there are now, with their keys."""
        end = self._admin.offsets.ends([PLACE]).get(PLACE, 0)
        begin = self._admin.offsets.begins([PLACE]).get(PLACE, 0) if end else 0
        if begin >= end:
            return
        with self._reader() as (consumer, trouble):
            # Not "the beginning": that is another question, which a new client asks late.
            consumer.assign([TopicPartition(*PLACE, begin)])
            deadline = monotonic() + ANSWER_TIMEOUT
            position = begin
            while position < end:
                for message in _page(consumer):
                    position = _after(message, self._options.name)
                    deadline = monotonic() + ANSWER_TIMEOUT
                    if message.error() is None:
                        yield (message.key() or b"").decode("utf-8", "replace"), message
                trouble.check()
                if monotonic() > deadline:
                    raise trouble.unavailable("dead letters could not be read in time")

    @contextmanager
    def _reader(self) -> Iterator[tuple[Consumer, Trouble]]:
        with self._lock:
            pair = self._idle.pop() if self._idle else None
        if pair is None:
            trouble = Trouble(self._options.name)
            pair = clients.make(Consumer, self._options.pages(), trouble), trouble
        try:
            yield pair
            pair[0].unassign()
        except BaseException:
            pair[0].close()
            raise
        with self._lock:
            self._idle.append(pair)

    def close(self) -> None:
        """Close what no listing uses."""
        with self._lock:
            pairs, self._idle = self._idle, []
        for consumer, _ in pairs:
            consumer.close()


def _page(consumer: Consumer) -> list[Message]:
    first = consumer.poll(0.1)
    return [] if first is None else [first, *consumer.consume(PAGE - 1, 0)]


def _after(message: Message, name: str) -> int:
    """The offset after it; the end that the client tells of is past what compaction took away."""
    problem = message.error()
    if problem is None:
        return (message.offset() or 0) + 1
    if problem.code() == KafkaError._PARTITION_EOF:
        return message.offset() or 0
    raise translate(problem, name)


def _record(data: bytes | None) -> DeadRecord | None:
    try:
        return frames.unpack_dead(data) if data else None
    except msgspec.MsgspecError:
        return None

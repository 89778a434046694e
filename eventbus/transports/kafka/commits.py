"""Committing: at most one on its way, with all partitions in it, and none while brokers are away.

A commit costs a broker six milliseconds, and what is behind it on the connection waits, heartbeats
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ...errors import TransportError
from . import names
from .errors import translate
from .progress import Progress
from .share import Share
from .trouble import Trouble

#: Seconds after which an answer is not expected any more.
LATE = 10.0
#: Seconds between two commits.
INTERVAL = 0.2


class Commits:
    """Commits the positions of shares. Used by the consumer thread, and by a marked handler's
    while that one waits.

    Args:
        group: of the client.
        write: keeps what cannot be committed now.
    """

    def __init__(
        self, client: Consumer, trouble: Trouble, shares: Mapping[tuple[str, int], Share],
        group: str, write: Callable[[dict[str, Progress]], None],
    ) -> None:
        self._client = client
        self._trouble = trouble
        self._shares = shares
        self._group = group
        self._write = write
        self._sent_at: float | None = None
        self._next_at = 0.0

    def begin(self) -> None:
        """Commit what has changed, unless a commit is on its way; does not wait."""
        now = monotonic()
        if now < self._next_at or self._trouble.down:
            return
        if self._waiting:
            self._keep(now)
            return
        changed = [share for share in self._shares.values() if share.dirty]
        if not changed:
            return
        try:
            self._client.commit(offsets=_positions(changed, False), asynchronous=True)
        except KafkaException:
            return  # Not ours any more, or later.
        self._sent_at = now
        self._next_at = now + INTERVAL
        for share in changed:
            share.dirty = False

    def _keep(self, now: float) -> None:
        """The last commit has no answer: a rebalance goes on. Write it where peers will look."""
        self._next_at = now + INTERVAL
        records: dict[str, Progress] = {}
        for share in self._shares.values():
            position = share.position(False)
            if position != share.kept:
                share.kept = position
                key = names.progress(self._group, share.topic, share.partition)
                records[key] = Progress(*position)
        if records:
            with suppress(TransportError):
                self._write(records)

    @property
    def _waiting(self) -> bool:
        return self._sent_at is not None and monotonic() - self._sent_at < LATE

    def ended(self, error: KafkaError | None, partitions: Iterable[TopicPartition] | None) -> None:
        """The answer to a commit has come."""
        self._sent_at = None
        if error is None:
            self._trouble.works()
        for place in partitions or ():
            share = self._shares.get((place.topic, place.partition))
            if share is not None and (error is not None or place.error is not None):
                share.dirty = True

    def mark(self, share: Share) -> None:
        """Store what the note of a share says, now; where a commit is refused, beside it."""
        try:
            self.now([share])
        except TransportError:
            key = names.progress(self._group, share.topic, share.partition)
            self._write({key: Progress(*share.position(False))})

    def attempt(self, shares: Iterable[Share], clean: bool = False) -> None:
        """Commit and wait for it; in the middle of a rebalance it may be refused, with no harm.

        What is not committed now is committed later, or is done again by the next owner.
        """
        with suppress(TransportError):
            self.now(shares, clean)

    def last(self, seconds: float) -> bool:
        """Commit all, given back in order, before the client is closed; `False` if nobody answers.

        Not `now`: that waits for as long as a session lasts.
        """
        deadline = monotonic() + seconds
        if self._answered(deadline):
            positions = _positions(self._shares.values(), True)
            with suppress(KafkaException):
                if positions:
                    self._client.commit(offsets=positions, asynchronous=True)
                    self._sent_at = monotonic()
        return self._answered(deadline)

    def _answered(self, deadline: float) -> bool:
        while self._sent_at is not None and monotonic() < deadline:
            # What comes meanwhile is not committed, so it comes again.
            self._client.poll(0.01)
        return self._sent_at is None

    def now(self, shares: Iterable[Share], clean: bool = False) -> None:
        """Commit and wait for it.

        Args:
            clean: the partitions are given back in order.
        """
        positions = _positions(shares, clean)
        if not positions:
            return
        try:
            answer: Any = self._client.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            raise translate(error, "commit") from None
        for place in answer or ():
            if place.error is not None:
                raise translate(place.error, "commit")
        for share in shares:
            share.dirty = False


def _positions(shares: Iterable[Share], clean: bool) -> list[TopicPartition]:
    found = []
    for share in shares:
        offset, metadata = share.position(clean)
        found.append(TopicPartition(share.topic, share.partition, offset, metadata))
    return found

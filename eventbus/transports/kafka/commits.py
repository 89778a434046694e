"""Committing: at most one on its way, with all partitions in it, and none while brokers are away.

A commit costs a broker six milliseconds, and what is behind it on the connection waits, heartbeats
included.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ...errors import TransportError
from . import names
from .errors import translate
from .options import ANSWER_TIMEOUT
from .progress import Progress
from .share import Share
from .trouble import Trouble

#: Seconds after which an answer is not expected any more.
LATE = 10.0
#: Seconds between two commits.
INTERVAL = 0.2
#: Seconds for writing down what cannot be committed: nothing is read meanwhile.
BESIDE = 1.0


class Commits:
    """Commits the positions of shares. Used by the consumer thread, and by a marked handler's
    while that one waits.

    Args:
        group: of the client.
        write: keeps what cannot be committed now; takes at most so many seconds.
    """

    def __init__(
        self, client: Consumer, trouble: Trouble, shares: Mapping[tuple[str, int], Share],
        group: str, write: Callable[[dict[str, Progress], float], None],
    ) -> None:
        self._client = client
        self._trouble = trouble
        self._shares = shares
        self._group = group
        self._write = write
        self._sent_at: float | None = None
        #: So ended the last one.
        self._refused = False
        self._next_at = 0.0

    def begin(self) -> None:
        """Commit what has changed, unless a commit is on its way; does not wait."""
        now = monotonic()
        if now < self._next_at or self._trouble.down:
            return
        if self._waiting or self._refused:
            # A rebalance goes on.
            self._next_at = now + INTERVAL
            self._write_down(self._shares.values(), False)
        if not self._waiting:
            self._send(now)

    def _send(self, now: float) -> None:
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

    def _write_down(
        self, shares: Iterable[Share], clean: bool, seconds: float = BESIDE
    ) -> None:
        """Keep where peers look what cannot be committed now, if that can be."""
        with suppress(TransportError):
            self._keep(shares, clean, seconds)

    def _keep(self, shares: Iterable[Share], clean: bool, seconds: float) -> None:
        positions = [(share, share.position(clean)) for share in shares]
        changed = [(share, position) for share, position in positions if position != share.kept]
        if changed:
            self._write({self._key(s): Progress(*position) for s, position in changed}, seconds)
        for share, position in changed:
            share.kept = position

    def _key(self, share: Share) -> str:
        return names.progress(self._group, share.topic, share.partition)

    @property
    def _waiting(self) -> bool:
        return self._sent_at is not None and monotonic() - self._sent_at < LATE

    def ended(self, error: KafkaError | None, partitions: Iterable[TopicPartition] | None) -> None:
        """The answer to a commit has come."""
        self._sent_at = None
        self._refused = error is not None
        if error is None:
            self._trouble.works()
        for place in partitions or ():
            share = self._shares.get((place.topic, place.partition))
            if share is not None and (error is not None or place.error is not None):
                share.dirty = True

    def mark(self) -> None:
        """Store what the notes of all shares say, now.

        Not by a commit: the consumer thread waits meanwhile, and where the group waits for a dead
        member, an answer takes as long as a session.
        """
        self._keep(self._shares.values(), False, ANSWER_TIMEOUT)

    def take_up(self, shares: Iterable[Share]) -> None:
        """Say whose hands these are in now; if that fails, the next commit says it."""
        self._write_down(shares, False)

    def give_up(self, shares: Collection[Share]) -> None:
        """Commit what is given back in order; it may be refused in the middle of a rebalance."""
        try:
            self._commit(_positions(shares, True))
        except TransportError:
            self._write_down(shares, True)

    def lost(self, shares: Iterable[Share]) -> None:
        """Tell whoever has them next what is done in shares that are not ours any more."""
        self._write_down(shares, True)

    def last(self, seconds: float) -> bool:
        """Commit all, given back in order, before the client is closed; `False` if nobody answers.

        Not as `give_up` does it: that waits for as long as a session lasts. Where no broker seems
        to answer there is no waiting for a commit, but they may be back and nobody has heard.
        """
        if self._trouble.down:
            self._write_down(self._shares.values(), True)
            return False
        deadline = monotonic() + seconds
        if self._answered(deadline):
            positions = _positions(self._shares.values(), True)
            with suppress(KafkaException):
                if positions:
                    self._client.commit(offsets=positions, asynchronous=True)
                    self._sent_at = monotonic()
        answered = self._answered(deadline)
        if self._refused or not answered:
            self._write_down(self._shares.values(), True)
        return answered

    def _answered(self, deadline: float) -> bool:
        while self._sent_at is not None and monotonic() < deadline:
            # What comes meanwhile is not committed, so it comes again.
            self._client.poll(0.01)
        return self._sent_at is None

    def _commit(self, positions: list[TopicPartition]) -> None:
        """Commit and wait for it."""
        try:
            answer: Any = self._client.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            raise translate(error, "commit") from None
        for place in answer or ():
            if place.error is not None:
                raise translate(place.error, "commit")


def _positions(shares: Iterable[Share], clean: bool) -> list[TopicPartition]:
    found = []
    for share in shares:
        offset, metadata = share.position(clean)
        found.append(TopicPartition(share.topic, share.partition, offset, metadata))
    return found

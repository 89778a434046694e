"""Publishing events: their topics are made first, and made again if they have vanished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import NoReturn

from confluent_kafka import KafkaError

from ...errors import TransportError
from ..base import PartlyStored, Record
from . import frames
from .catalogue import Catalogue
from .errors import MISSING, UNSTORED, translate
from .producing import Outgoing, Producing

#: Errors of messages that have never left the client or were refused.
_REFUSED = MISSING | {
    KafkaError._PURGE_QUEUE, KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_MSG,
}


class Publishing:
    """Sends records to their topics.

    Args:
        hint: lets all members know of a new topic, until a deadline.
    """

    def __init__(
        self, producing: Producing, catalogue: Catalogue, hint: Callable[..., object], name: str
    ) -> None:
        self._producing = producing
        self._catalogue = catalogue
        self._hint = hint
        self._name = name
        self._known: set[str] = set()

    def publish(self, records: Sequence[Record], timeout: float) -> None:
        deadline = monotonic() + timeout
        stored: list[int] = []
        left = list(range(len(records)))
        while left:
            rest = [records[number] for number in left]
            try:
                self._make_topics(rest, deadline)
                messages = [Outgoing(r.topic, r.data, r.key, frames.headers(r)) for r in rest]
                batch = self._producing.send(messages, max(0.0, deadline - monotonic()))
            except TransportError:
                if not stored:
                    raise
                self._raise({}, stored)
            failed = {left[number]: error for number, error in batch.errors.items()}
            unsure = {left[number] for number in batch.unsent}
            stored += [n for n in left if n not in failed and n not in unsure]
            if not failed and not unsure:
                return
            missing = [n for n, error in failed.items() if error.code() in UNSTORED]
            if unsure or len(missing) < len(failed) or monotonic() >= deadline:
                self._raise(failed, stored, bool(unsure))
            left = missing
            self._known.difference_update(records[n].topic for n in missing)

    def _make_topics(self, records: Sequence[Record], deadline: float) -> None:
        for topic in dict.fromkeys(record.topic for record in records):
            if topic not in self._known:
                self._producing.warm_up()
                seconds = max(0.0, deadline - monotonic())
                self._catalogue.ensure(topic, partial(self._hint, deadline=deadline), seconds)
                self._known.add(topic)

    def _raise(
        self, failed: dict[int, KafkaError], stored: Sequence[int], unsure: bool = False
    ) -> NoReturn:
        prefix = 0
        safe = set(stored)
        while prefix in safe:
            prefix += 1
        # Behind the first that is not stored others may be.
        refused = all(error.code() in _REFUSED for error in failed.values())
        certain = failed and refused and not unsure and len(safe) == prefix
        outcome = "failed" if certain else "unknown"
        first = next(iter(failed.values()), None)
        error = self._producing.late() if first is None else translate(first, self._name, outcome)  # type: ignore[arg-type]
        if not prefix:
            error.outcome = outcome  # type: ignore[assignment]
            raise error
        raise PartlyStored(str(error), stored=prefix, outcome=outcome)  # type: ignore[arg-type]

"""A consumer that reads nothing and joins nothing, for the questions only a consumer can ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from . import clients
from .errors import LATE, code_of
from .questions import Questions

#: Seconds of asking in vain after which another client is worth a try.
VAIN = 3.0

T = TypeVar("T")


class Asker:
    """Lets threads ask one after another.

    The client itself lets one thread at a time use it, and a thread that waits for that, even to
    hear what has happened, may wait for ever (confluent-kafka 2.16).
    """

    def __init__(self, client: Consumer) -> None:
        self._client = client
        self._lock = Lock()
        self._vain_since: float | None = None

    @classmethod
    def make(cls, questions: Questions, settings: Mapping[str, Any] | None = None) -> Asker:
        """With the settings of a reader, and these."""
        wanted = {**questions.options.reader(), **(settings or {})}
        return cls(clients.make(Consumer, wanted, questions.trouble))

    @property
    def stranded(self) -> bool:
        """It has to be replaced: it may know no broker any more (see `stranding`)."""
        since = self._vain_since
        return since is not None and monotonic() - since >= VAIN

    def committed(self, places: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        """What the client's group has committed.

        Raises:
            KafkaException: no answer in `timeout` seconds, or the broker's error.
        """
        asked = list(places)
        return self._ask(lambda left: self._client.committed(asked, left), timeout)

    def offsets(self, places: Iterable[TopicPartition], timeout: float) -> list[TopicPartition]:
        """The offsets that are for the given times; raises like `committed`."""
        asked = list(places)
        return self._ask(lambda left: self._client.offsets_for_times(asked, left), timeout)

    def _ask(self, question: Callable[[float], T], timeout: float) -> T:
        deadline = monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        try:
            answer = question(max(0.001, deadline - monotonic()))
        except KafkaException as error:
            if code_of(error) in LATE and self._vain_since is None:
                self._vain_since = deadline - timeout
            raise
        else:
            self._vain_since = None
            return answer
        finally:
            self._lock.release()

    def take_in(self) -> None:
        """Let the client tell what has happened, unless somebody asks it something."""
        if self._lock.acquire(blocking=False):
            try:
                while self._client.poll(0):
                    continue
            finally:
                self._lock.release()

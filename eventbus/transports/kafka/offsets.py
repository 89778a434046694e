"""Offsets of partitions: where they begin and end, and where an hour ago was."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from time import sleep

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from .asker import Asker
from .errors import LATE, MISSING, code_of
from .questions import PATIENCE, SOON, Questions

#: Errors of a partition that was made a moment ago, or whose leader moves.
LEADERLESS = frozenset(
    (
        KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._NOENT,
        KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.FENCED_LEADER_EPOCH,
    )
)

#: A partition of a topic.
Place = tuple[str, int]


class Offsets:
    """What is asked of brokers about partitions."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._asker: Asker | None = None
        self._lock = Lock()
        questions.listening.append(self._take_in)

    def _take_in(self) -> None:
        if (asker := self._asker) is not None:
            asker.take_in()

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the next event of each partition will be; without those that are gone."""
        return self._offsets(places, OFFSET_END)

    def ends_now(self, places: Iterable[Place]) -> dict[Place, int]:
        """The same of those partitions that have a leader at the moment."""
        led, _ = self._led(places)
        answers = self._ask_offsets(led, OFFSET_END) if led else []
        return {(a.topic, a.partition): a.offset for a in answers if a.error is None}

    def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the oldest event of each partition is that the broker still has."""
        return self._offsets(places, OFFSET_BEGINNING)

    def since(self, places: Iterable[Place], moment: float) -> dict[Place, int]:
        """Where the first event of each partition is that came at a time or later, else -1."""
        return self._offsets(places, int(moment * 1000))

    def _offsets(self, places: Iterable[Place], when: int) -> dict[Place, int]:
        """Ask a consumer that reads nothing, in one question, for partitions that have a leader."""
        left = list(places)
        found: dict[Place, int] = {}
        begun = self._questions.begin()
        while left:
            try:
                led, leaderless = self._led(left)
                for answer in self._ask_offsets(led, when) if led else ():
                    if answer.error is None:
                        found[answer.topic, answer.partition] = answer.offset
                    elif answer.error.code() not in MISSING:
                        raise KafkaException(answer.error)
            except KafkaException as error:
                again = code_of(error) in LEADERLESS or code_of(error) in LATE
                if not again or self._questions.waited_enough(begun):
                    raise self._questions.translated(error) from None
                self._questions.glance(begun)
                leaderless = [place for place in left if place not in found]
            left = leaderless
            if left and self._questions.waited_enough(begun):
                raise self._questions.trouble.unavailable(f"{left[0]} has no leader")
            sleep(SOON if left else 0.0)
        return found

    def _led(self, places: Iterable[Place]) -> tuple[list[Place], list[Place]]:
        """Partitions with a leader, and without; those of topics that are gone are neither."""
        topics = self._questions.metadata()
        led: list[Place] = []
        leaderless: list[Place] = []
        for name, number in places:
            if name in topics:
                about = topics[name].partitions.get(number)
                (led if about is not None and about.leader >= 0 else leaderless).append(
                    (name, number)
                )
        return led, leaderless

    def _ask_offsets(self, places: Iterable[Place], when: int) -> list[TopicPartition]:
        asked = [TopicPartition(*place, when) for place in places]
        with self._lock:
            asker = self._asker
            if asker is None or asker.stranded:
                asker = self._asker = Asker.make(self._questions)
        return asker.offsets(asked, PATIENCE)

    def reset(self) -> None:
        """Forget the client; the next question makes another one."""
        with self._lock:
            self._asker = None

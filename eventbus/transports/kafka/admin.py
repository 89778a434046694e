"""All that is asked of brokers beside reading and writing. Any thread may ask."""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import AdminClient

from .groups import Groups
from .offsets import Offsets
from .options import ANSWER_TIMEOUT, Options
from .questions import Questions
from .topics import Topics


class Admin:
    """Its parts ask about topics, partitions and groups, through the same client."""

    def __init__(self, options: Options) -> None:
        self._questions = Questions(options)
        self.topics = Topics(self._questions)
        self.offsets = Offsets(self._questions)
        self.groups = Groups(self._questions)

    def cluster(self) -> Any:
        """Its brokers, and what we may do."""
        return self._questions.answer(self._questions.client().describe_cluster(
            include_authorized_operations=True, request_timeout=ANSWER_TIMEOUT
        ))

    def client(self) -> AdminClient:
        """The one there is."""
        return self._questions.client()

    def give_up(self) -> None:
        """Whoever waits for an answer hears within a second that there is none."""
        self._questions.give_up()

    def reset(self) -> AdminClient | None:
        """Forget all clients; the next question makes another one."""
        self.offsets.reset()
        self.groups.reset()
        return self._questions.reset()

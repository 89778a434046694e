"""Sending a batch of messages, and telling truthfully which of them are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from ...errors import TransportError, TransportUnavailable
from ..base import PartlyStored
from .link import Link


class Message(NamedTuple):
    """What is to be stored under a subject."""

    subject: str
    data: bytes
    headers: dict[str, str]


class Batch:
    """Messages on their way, whose confirmations come in any order."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._subjects: list[str] = []
        self._waiting = 0
        self._done: asyncio.Future[None] = link.loop.create_future()
        #: For each message: its confirmation, the error, or `None` while neither is there.
        self.answers: list[bool | TransportError | None] = []

    async def send(self, messages: Iterable[Message]) -> None:
        """Send all, and wait for all answers."""
        for message in messages:
            take = partial(self._answered, len(self.answers))
            self.answers.append(None)
            self._subjects.append(message.subject)
            self._waiting += 1
            self._link.send_for(take, *message)
        if self._waiting:
            self._link.push()
            await self._done

    def _answered(self, index: int, answer: Msg | TransportError) -> None:
        try:
            if isinstance(answer, TransportError):
                raise answer
            self._link.confirmation(self._subjects[index], answer)
        except TransportError as error:
            self.answers[index] = error
        else:
            self.answers[index] = True
        self._waiting -= 1
        if not self._waiting and not self._done.done():
            self._done.set_result(None)

    def raise_errors(self, failure: TransportError | None) -> None:
        """Raise what is to be said about them, if anything.

        Args:
            failure: what ended the wait for answers, if it did not end by itself.
        """
        stored = 0
        for answer in self.answers:
            if answer is not True:
                break
            stored += 1
        if stored == len(self.answers):
            # Even if the wait for the last one ended with an error.
            return
        rest = self.answers[stored:]
        error = next((a for a in rest if isinstance(a, TransportError)), failure)
        assert error is not None
        refused = all(isinstance(a, TransportError) and a.outcome == "failed" for a in rest)
        raise _described(error, stored, "failed" if refused else "unknown")


def _described(error: TransportError, stored: int, outcome: Any) -> TransportError:
    if stored:
        return PartlyStored(str(error), stored=stored, outcome=outcome)
    if isinstance(error, TransportUnavailable):
        return TransportUnavailable(str(error), outcome=outcome)
    error.outcome = outcome
    return error


def store(link: Link, messages: Iterable[Message], timeout: float) -> None:
    """Store all messages, in order.

    Raises:
        PartlyStored: the first ones are stored.
        TransportError: none is, for certain or perhaps, as its outcome says.
    """
    batch = Batch(link)
    failure: TransportError | None = None
    try:
        link.run(batch.send(messages), timeout)
    except TransportError as error:
        failure = error
        if not batch.answers:
            # Nothing was sent.
            error.outcome = "failed"
            raise
    batch.raise_errors(failure)

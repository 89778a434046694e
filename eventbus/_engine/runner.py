"""Calls a handler with an event of its own and reports what came of it."""

from __future__ import annotations

from ..errors import SerializationError
from ..wire import decode
from .failures import describe, undecodable
from .work import Attempt


class HandlerRunner:
    """The part of an attempt that happens in a worker."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, attempt: Attempt) -> None:
        delivery = attempt.delivery
        binding = attempt.binding
        try:
            event = decode(
                delivery.data, topic=delivery.topic, prefix=self._prefix, key=delivery.key,
                attempt=attempt.number,
            )
        except SerializationError as error:
            binding.member.fail(undecodable(attempt, error))
            return
        try:
            binding.invoke(event)
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too: a handler must not take the worker with it.
            binding.member.fail(describe(attempt, event, error))
        else:
            binding.member.succeed(attempt)

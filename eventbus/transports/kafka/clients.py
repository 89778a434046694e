"""Making a client, with what it does not like about its settings in words of ours."""

from __future__ import annotations

from typing import Any, TypeVar

from confluent_kafka import KafkaException

from ...errors import ConfigurationError
from .trouble import Trouble

T = TypeVar("T")


def make(
    kind: type[T], settings: dict[str, Any], trouble: Trouble, polled: bool = False
) -> T:
    """A client whose callbacks and log go to `trouble`.

    Args:
        polled: all the time.
    """
    try:
        return kind({**settings, **trouble.callbacks(polled)})  # type: ignore[call-arg]
    except KafkaException as error:
        raise ConfigurationError(f"{trouble.name}: {error.args[0].str()}") from None

"""Settings of Kafka's client that would break a promise, and why each is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventbus._config.checks import suggest
from eventbus.errors import ConfigurationError

_OWN = "it is made from KafkaConfig.{}"
_COMMITS = "an event counts as done when its handlers are, and not when it was fetched"
_LOST = "events that appear between two looks at the topics would be skipped"
_TWICE = "a publish that the client repeats by itself could be stored twice, or out of order"
_CALLBACK = "an error in a callback destroys the events that were just fetched"

#: Why, by the setting's name.
REFUSED: dict[str, str] = {
    "bootstrap.servers": _OWN.format("brokers"),
    "metadata.broker.list": _OWN.format("brokers"),
    "sasl.username": _OWN.format("username"),
    "sasl.password": _OWN.format("password"),
    "sasl.mechanism": _OWN.format("mechanism"),
    "sasl.mechanisms": _OWN.format("mechanism"),
    "partition.assignment.strategy": _OWN.format("assignor"),
    "group.protocol": _OWN.format("protocol"),
    "group.id": "it is made from the consumer group and the pattern",
    "group.instance.id": "a static member that was cut off in the middle of a commit is fenced "
    "for good, and two subscriptions of one process would fence each other",
    "enable.auto.commit": _COMMITS,
    "enable.auto.offset.store": _COMMITS,
    "auto.commit.interval.ms": _COMMITS,
    "auto.offset.reset": _LOST,
    "enable.partition.eof": "ends of partitions are no events",
    "enable.idempotence": _TWICE,
    "max.in.flight": _TWICE,
    "max.in.flight.requests.per.connection": _TWICE,
    "retries": _TWICE,
    "message.send.max.retries": _TWICE,
    "acks": "only what all in-sync copies have is stored",
    "request.required.acks": "only what all in-sync copies have is stored",
    "transactional.id": "events are not published in transactions of the client",
    "delivery.timeout.ms": "it is made from publish_timeout",
    "message.timeout.ms": "it is made from publish_timeout",
    "statistics.interval.ms": "the statistics tell when a client has lost all brokers",
    "queuing.strategy": "events of a key would overtake each other",
    **dict.fromkeys(
        ("error_cb", "stats_cb", "throttle_cb", "on_delivery", "on_commit", "logger"), _CALLBACK
    ),
}


def refuse_settings(field: str, given: Any) -> None:
    """Raise for a setting that must not be changed; the client itself knows the others."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigurationError(f"{field} is no mapping: use {{'socket.timeout.ms': 10000}}")
    for name in given:
        if name in REFUSED:
            raise ConfigurationError(f"{field}: {name!r} cannot be set: {REFUSED[name]}")
        if "_" in name:
            raise ConfigurationError(
                f"{field}: {name!r} is unknown: {suggest(name.replace('_', '.'), REFUSED)}"
                if name.endswith("_cb")
                else f"{field}: {name!r} is unknown: names of librdkafka have dots"
            )

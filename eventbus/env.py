"""The environment variables that configure a bus, and where each one's value goes."""

from __future__ import annotations

from collections.abc import Mapping

EVENT_BUS_PROVIDER = "EVENT_BUS_PROVIDER"
EVENT_BUS_CONSUMER_GROUP = "EVENT_BUS_CONSUMER_GROUP"
EVENT_BUS_PREFIX = "EVENT_BUS_PREFIX"
EVENT_BUS_MAX_CONCURRENT_HANDLERS = "EVENT_BUS_MAX_CONCURRENT_HANDLERS"
EVENT_BUS_BUFFER_SIZE = "EVENT_BUS_BUFFER_SIZE"
EVENT_BUS_DB_PATH = "EVENT_BUS_DB_PATH"
REDIS_URL = "REDIS_URL"
KAFKA_BROKERS = "KAFKA_BROKERS"
RABBITMQ_URL = "RABBITMQ_URL"
NATS_URL = "NATS_URL"
POSTGRES_URL = "POSTGRES_URL"

#: Variables that set a field of the bus, whatever the provider.
BUS_FIELDS = {
    EVENT_BUS_CONSUMER_GROUP: "consumer_group",
    EVENT_BUS_PREFIX: "prefix",
    EVENT_BUS_MAX_CONCURRENT_HANDLERS: "max_concurrent_handlers",
}

#: By provider: the variable that sets a field of its config. It says nothing to the others.
PROVIDER_FIELDS = {
    "memory": (EVENT_BUS_BUFFER_SIZE, "buffer_size"),
    "sqlite": (EVENT_BUS_DB_PATH, "path"),
    "redis": (REDIS_URL, "url"),
    "kafka": (KAFKA_BROKERS, "brokers"),
    "rabbitmq": (RABBITMQ_URL, "url"),
    "nats": (NATS_URL, "url"),
    "postgres": (POSTGRES_URL, "url"),
}


def read(environ: Mapping[str, str], variable: str) -> str | None:
    """The variable's value without surrounding whitespace; `None` if unset or empty."""
    return environ.get(variable, "").strip() or None

"""From our config to the client's settings."""

from __future__ import annotations

from typing import Any

from ...config import KafkaConfig
from ..base import Settings

#: Seconds to wait for an answer about topics, groups and offsets.
ANSWER_TIMEOUT = 5.0
#: Milliseconds: a killed member's events go to a peer after the first, and pauses of a rebalance
#: are multiples of the second. Brokers as they come refuse sessions below six seconds.
SESSION, HEARTBEAT = 6_000, 500


class Options:
    """How to connect, in the client's words."""

    def __init__(self, config: KafkaConfig, settings: Settings) -> None:
        assert config.brokers is not None
        self.name = config.location
        self.config = config
        self.settings = settings

    def common(self) -> dict[str, Any]:
        """What all clients need."""
        config = self.config
        protocol = ("SASL_" if config.username else "") + ("SSL" if config.tls else "PLAINTEXT")
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(config.brokers or ()),
            "client.id": "eventbus",
            "security.protocol": protocol,
            "socket.keepalive.enable": True,
            "socket.nagle.disable": True,
            "socket.connection.setup.timeout.ms": 4_000,
            "socket.timeout.ms": 10_000,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 500,
            "topic.metadata.refresh.fast.interval.ms": 50,
        }
        if config.username:
            found["sasl.mechanism"] = config.mechanism
            found["sasl.username"] = str(config.username)
            found["sasl.password"] = str(config.password or "")
        if config.ca:
            found["ssl.ca.location"] = config.ca
        return {**found, **config.client}

    @property
    def classic(self) -> bool:
        """Whether groups follow the older protocol, in which brokers name the members."""
        return self.config.protocol == "classic"

    def producer(self) -> dict[str, Any]:
        return {
            # As Java's clients do it, so that a key has one partition whoever publishes.
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            # Events without a key go anywhere at once, so that all members have their share.
            "sticky.partitioning.linger.ms": 0,
            "topic.metadata.propagation.max.ms": 2_000,
            # The first pause of those that grow: a topic made a moment ago has no leader yet.
            "retry.backoff.ms": 10,
            **_of("producer", self.common()),
            "enable.idempotence": True,
            "acks": "all",
            "delivery.timeout.ms": max(1, int(self.settings.publish_timeout * 1000)),
        }

    def consumer(self, group: str) -> dict[str, Any]:
        """For a client that joins a group."""
        found = {**self.follower(), "group.id": group}
        if self.classic:
            return {**found, "partition.assignment.strategy": self.config.assignor}
        # Its times are the brokers' to decide.
        for name in ("session.timeout.ms", "heartbeat.interval.ms"):
            del found[name]
        return {**found, "group.protocol": "consumer"}

    def reader(self) -> dict[str, Any]:
        """For a client that reads by itself."""
        return {
            # How long a fetch waits on idle partitions before an added one is asked for.
            "fetch.wait.max.ms": 50,
            "queued.min.messages": 5_000,
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 20,
            # A topic that was made a moment ago has no leader yet.
            "fetch.error.backoff.ms": 50,
            "session.timeout.ms": SESSION,
            "heartbeat.interval.ms": HEARTBEAT,
            **_of("consumer", self.common()),
            "group.id": "_eventbus",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # For positions that the broker has removed; births decide where to begin.
            "auto.offset.reset": "earliest",
        }

    def follower(self) -> dict[str, Any]:
        """For a client that reads by itself and wants to be told where the end is."""
        return {**self.reader(), "enable.partition.eof": True}

    def pages(self) -> dict[str, Any]:
        """For a client that reads up to an end it knows, and begins again now and then."""
        # The last fetch of one reading waits as long, and the next reading for it.
        return {**self.follower(), "fetch.wait.max.ms": 2}

    def admin(self) -> dict[str, Any]:
        return _of("admin", self.common())


#: Settings that only one kind of client takes without a warning, by their beginnings.
_KINDS = {
    "producer": ("linger.ms", "batch.", "compression.", "queue.buffering.", "partitioner",
                 "sticky.", "topic.metadata.propagation."),
    "consumer": ("fetch.", "queued.", "session.", "heartbeat.", "max.poll.", "isolation.",
                 "check.crcs", "client.rack", "max.partition."),
}


def _of(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without those of other kinds of clients."""
    others = [start for other, starts in _KINDS.items() if other != kind for start in starts]
    return {k: v for k, v in settings.items() if not k.startswith(tuple(others))}

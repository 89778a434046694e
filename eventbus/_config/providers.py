"""The seven providers and the config of each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from eventbus._config import urls
from eventbus._config.checks import brokers, file_path, named, server_url, shown, suggest, whole
from eventbus._config.librdkafka import refuse_settings
from eventbus._config.settings import Settings
from eventbus.errors import ConfigurationError
from eventbus.patterns import check_group


class Provider(str, Enum):
    """A kind of transport; equal to its name, which is also what `str` gives."""

    MEMORY = "memory"
    REDIS = "redis"
    KAFKA = "kafka"
    RABBITMQ = "rabbitmq"
    NATS = "nats"
    POSTGRES = "postgres"
    SQLITE = "sqlite"

    __str__ = str.__str__

    @classmethod
    def _missing_(cls, value: object) -> Provider:
        name = value.strip().lower() if isinstance(value, str) else ""
        for provider in cls:
            if name == provider.value or (name == "gochannel" and provider is cls.MEMORY):
                return provider
        known = suggest(name, (*(p.value for p in cls), "gochannel"))
        raise ConfigurationError(f"provider is {shown(value)}: {known}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryConfig(Settings):
    """Events in this process only.

    Attributes:
        buffer_size: Events a subscription's queue holds before `publish` waits.
        consumer_group: The group of this provider; `None` takes the bus's.
    """

    #: As in Authula's Go channel: a burst of one request, far below what would cost memory.
    buffer_size: int = 100
    consumer_group: str | None = None

    def __post_init__(self) -> None:
        whole("MemoryConfig.buffer_size", self.buffer_size, 1)
        _check_group(self)

    @property
    def location(self) -> str:
        """Where the events are, fit to be shown."""
        return "memory:"


@dataclass(frozen=True, kw_only=True, slots=True)
class SQLiteConfig(Settings):
    """Events in one SQLite file.

    Attributes:
        path: The file; a relative one belongs to the working directory at construction.
        consumer_group: The group of this provider; `None` takes the bus's.
    """

    #: A name that explains itself when it is found in a working directory.
    path: str | os.PathLike[str] = "events.db"
    consumer_group: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", file_path("SQLiteConfig.path", self.path))
        _check_group(self)

    @property
    def absolute(self) -> str:
        """The file's absolute path, with `~` expanded."""
        return os.path.abspath(os.path.expanduser(self.path))

    @property
    def location(self) -> str:
        """Where the events are, fit to be shown."""
        return f"sqlite:///{self.absolute}"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaConfig(Settings):
    """Events on a Kafka cluster.

    Attributes:
        brokers: `"h1:9092,h2:9092"` or a sequence of `host:port`; kept as a tuple.
        username: With it, SASL is used.
        password: Is never shown.
        mechanism: Of SASL: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        tls: Whether to encrypt, and to verify the brokers' certificates.
        ca: The file of the certificates to trust with TLS; `None` takes the system's.
        partitions: Of topics that are made here; 0 takes the broker's default.
        replication: Copies of topics that are made here; 0 takes the broker's default.
        min_insync_replicas: Copies that must have an event before it counts as stored; 0 takes
            the broker's default.
        assignor: `cooperative-sticky`, `range` or `roundrobin`; the same for a whole group.
        protocol: `classic`, or `consumer` for KIP-848, whose times are the broker's to decide.
        client: More settings of librdkafka, by its names.
        consumer_group: The group of this provider; `None` takes the bus's.
    """

    ASSIGNORS: ClassVar = ("cooperative-sticky", "range", "roundrobin")
    PROTOCOLS: ClassVar = ("classic", "consumer")
    MECHANISMS: ClassVar = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

    brokers: str | Sequence[str] | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "PLAIN"
    tls: bool = False
    ca: str | None = None
    #: Who runs the cluster knows best.
    partitions: int = 0
    replication: int = 0
    min_insync_replicas: int = 0
    #: The only one that does not stop every member at each new topic. Go members need `range`.
    assignor: str = "cooperative-sticky"
    #: With the other one, brokers as they come take 45 seconds to notice a killed member.
    protocol: str = "classic"
    client: Mapping[str, str | int | float | bool] = field(default_factory=dict, repr=False)
    consumer_group: str | None = None

    def __post_init__(self) -> None:
        if self.brokers is not None:
            object.__setattr__(self, "brokers", brokers("KafkaConfig.brokers", self.brokers))
        if self.password is not None:
            object.__setattr__(self, "password", urls.Secret(self.password))
        if self.password is not None and self.username is None:
            raise ConfigurationError("KafkaConfig.password is given without a username")
        for name in ("partitions", "replication", "min_insync_replicas"):
            whole(f"KafkaConfig.{name}", getattr(self, name), 0, 32_767)
        _one_of("KafkaConfig.assignor", self.assignor, self.ASSIGNORS)
        _one_of("KafkaConfig.protocol", self.protocol, self.PROTOCOLS)
        _one_of("KafkaConfig.mechanism", self.mechanism, self.MECHANISMS)
        refuse_settings("KafkaConfig.client", self.client)
        _check_group(self)

    @property
    def location(self) -> str:
        """Where the events are, fit to be shown."""
        return f"kafka://{','.join(self.brokers or ())}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig(Settings):
    """A provider that is reached by one URL, which its client understands.

    Attributes:
        url: Where the server is. Its password is never shown.
        consumer_group: The group of this provider; `None` takes the bus's.
    """

    SCHEMES: ClassVar[tuple[str, ...]] = ()

    url: str | None = None
    consumer_group: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None:
            checked = server_url(f"{type(self).__name__}.url", self.url, self.SCHEMES)
            object.__setattr__(self, "url", checked)
        _check_group(self)

    @property
    def location(self) -> str:
        """Where the events are, fit to be shown."""
        return urls.location(self.url or f"{self.SCHEMES[0]}:")


class RedisConfig(ServerConfig):
    """Events in Redis streams; the URL is `redis://` or, with TLS, `rediss://`."""

    __slots__ = ()
    SCHEMES = ("redis", "rediss")


class RabbitMQConfig(ServerConfig):
    """Events on RabbitMQ; the URL is `amqp://` or, with TLS, `amqps://`."""

    __slots__ = ()
    SCHEMES = ("amqp", "amqps")


class NATSConfig(ServerConfig):
    """Events in NATS JetStream; the URL is `nats://` or, with TLS, `tls://`."""

    __slots__ = ()
    SCHEMES = ("nats", "tls")


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresConfig(ServerConfig):
    """Events in PostgreSQL; the URL is `postgresql://`.

    Attributes:
        url: Where the database is. Its password is never shown.
        consumer_group: The group of this provider; `None` takes the bus's.
        schema: Of the tables; it is made with them.
    """

    SCHEMES: ClassVar = ("postgresql", "postgres")

    #: Its own, apart from the application's tables: one GRANT covers it, and one DROP.
    schema: str = "eventbus"

    def __post_init__(self) -> None:
        ServerConfig.__post_init__(self)
        object.__setattr__(self, "schema", named("PostgresConfig.schema", self.schema, _schema))


#: What PostgreSQL keeps of a name, without what would need an escape somewhere.
_SCHEMA = re.compile(r"(?!pg_)[A-Za-z_][A-Za-z0-9_-]{0,62}")

ProviderConfig = MemoryConfig | SQLiteConfig | KafkaConfig | ServerConfig

CONFIGS: dict[Provider, type[ProviderConfig]] = {
    Provider.MEMORY: MemoryConfig,
    Provider.REDIS: RedisConfig,
    Provider.KAFKA: KafkaConfig,
    Provider.RABBITMQ: RabbitMQConfig,
    Provider.NATS: NATSConfig,
    Provider.POSTGRES: PostgresConfig,
    Provider.SQLITE: SQLiteConfig,
}


def _one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigurationError(f"{name} is {shown(value)}: {suggest(str(value), known)}")


def _schema(name: str) -> str:
    if not _SCHEMA.fullmatch(name):
        raise ValueError(
            f"{shown(name)}: use at most 63 of A-Z a-z 0-9 '_' '-', neither a digit nor '-' nor "
            "pg_ first"
        )
    return name


def _check_group(config: ProviderConfig) -> None:
    if config.consumer_group is not None:
        name = f"{type(config).__name__}.consumer_group"
        object.__setattr__(
            config, "consumer_group", named(name, config.consumer_group, check_group)
        )

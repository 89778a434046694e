"""How a bus is configured: one frozen object, a URL, the environment, or all three."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbus._config.checks import above_zero, named, seconds, shown, whole
from eventbus._config.from_url import with_url
from eventbus._config.providers import (
    CONFIGS,
    KafkaConfig,
    MemoryConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    ProviderConfig,
    RabbitMQConfig,
    RedisConfig,
    SQLiteConfig,
)
from eventbus._config.resolve import resolve
from eventbus._config.settings import Settings, explicit
from eventbus._config.urls import Secret, redact
from eventbus.errors import ConfigurationError
from eventbus.patterns import check_group, check_prefix
from eventbus.retry import RetryPolicy

__all__ = [
    "EventBusConfig",
    "KafkaConfig",
    "MemoryConfig",
    "NATSConfig",
    "PostgresConfig",
    "Provider",
    "ProviderConfig",
    "RabbitMQConfig",
    "RedisConfig",
    "SQLiteConfig",
    "effective_config",
    "redact",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventBusConfig(Settings):
    """The settings of a bus. Times are in seconds.

    Attributes:
        provider: Which transport carries the events: a `Provider` or its name.
        consumer_group: Whose subscriptions these are; members of a group share its events.
        prefix: A namespace put before every type on the broker; a bus sees nothing outside it.
        max_concurrent_handlers: Threads that run handlers.
        max_in_flight: Events one subscription holds in this process.
        max_in_flight_bytes: Encoded bytes one subscription holds in this process.
        max_event_bytes: The largest event, encoded.
        lease: How long a fetched event stays ours without a sign of life.
        handler_timeout: After this a running handler is logged; `None` never does.
        publish_timeout: How long a publish may take until the broker has confirmed.
        close_timeout: How long `close` waits for running handlers.
        retry: How failing handlers are tried again.
        retention: How long settled events stay stored.
        memory, redis, kafka, rabbitmq, nats, postgres, sqlite: That provider's own config.
    """

    #: Works without a server or a file, so the first example runs anywhere.
    provider: Provider | str = Provider.MEMORY
    #: The product's name: a service that shares a transport with others should set its own.
    consumer_group: str = "eventbus"
    #: No namespace: types on the broker read as they do in the code.
    prefix: str = ""
    #: As in Authula; handlers mostly wait for I/O, so far more threads than cores.
    max_concurrent_handlers: int = 100
    #: Ten per thread keeps the workers busy between fetches; a crash repeats no more than this.
    max_in_flight: int = 1000
    #: 64 events of the largest size: bounded memory even when every event is huge.
    max_in_flight_bytes: int = 64 * 1024 * 1024
    #: Below the 1 MiB at which NATS and Kafka refuse, with room for headers.
    max_event_bytes: int = 1_000_000
    #: Survives two lost renewals (one each third) and gives a dead member's events to a peer soon.
    lease: float = 30.0
    #: How long is too long only the application knows.
    handler_timeout: float | None = None
    #: A caller, often a web request, waits: long enough for one reconnect.
    publish_timeout: float = 5.0
    #: Orchestrators kill 30 s after SIGTERM; this leaves 5 to settle and disconnect.
    close_timeout: float = 25.0
    #: See `RetryPolicy` for each number.
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: A week: a service that broke on Friday can be repaired on Monday.
    retention: timedelta = timedelta(days=7)
    memory: MemoryConfig | None = None
    redis: RedisConfig | None = None
    kafka: KafkaConfig | None = None
    rabbitmq: RabbitMQConfig | None = None
    nats: NATSConfig | None = None
    postgres: PostgresConfig | None = None
    sqlite: SQLiteConfig | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "provider", Provider(self.provider))
        for name, check in (("consumer_group", check_group), ("prefix", check_prefix)):
            value = named(f"EventBusConfig.{name}", getattr(self, name), check)
            object.__setattr__(self, name, value)
        self._check_sizes()
        self._check_times()
        self._check_types()

    def resolve(self, environ: Mapping[str, str]) -> EventBusConfig:
        """The effective config: this one, with the variables of `environ` over it.

        Raises:
            ConfigurationError: A variable is wrong, or a required value is missing.
        """
        return effective_config(self, environ=environ)

    @property
    def provider_config(self) -> ProviderConfig:
        """The config of the chosen provider, with its defaults if none was given."""
        own: ProviderConfig | None = getattr(self, str(self.provider))
        return CONFIGS[Provider(self.provider)]() if own is None else own

    @property
    def group(self) -> str:
        """The effective consumer group: the provider's own, if it has one."""
        return self.provider_config.consumer_group or self.consumer_group

    @property
    def group_is_default(self) -> bool:
        """Whether nobody chose the consumer group."""
        return self.provider_config.consumer_group is None and not explicit(self, "consumer_group")

    @property
    def location(self) -> str:
        """Where the events are, for people: a URL without user, password or parameters."""
        return self.provider_config.location

    def _check_sizes(self) -> None:
        # More threads than this exhaust a process before they help it.
        whole("EventBusConfig.max_concurrent_handlers", self.max_concurrent_handlers, 1, 10_000)
        for name in ("max_in_flight", "max_in_flight_bytes", "max_event_bytes"):
            whole(f"EventBusConfig.{name}", getattr(self, name), 1)

    def _check_times(self) -> None:
        times = ["lease", "publish_timeout", "close_timeout"]
        if self.handler_timeout is not None:
            times.append("handler_timeout")
        for name in times:
            zero = name == "close_timeout"
            value = seconds(f"EventBusConfig.{name}", getattr(self, name), zero=zero)
            object.__setattr__(self, name, value)
        above_zero("EventBusConfig.retention", self.retention)

    def _check_types(self) -> None:
        wanted: dict[str, type[Any]] = {"retry": RetryPolicy}
        wanted |= {p.value: c for p, c in CONFIGS.items() if getattr(self, p.value) is not None}
        for name, kind in wanted.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ConfigurationError(
                    f"EventBusConfig.{name} is {shown(value)}: use a {kind.__name__}"
                )


def effective_config(
    config: EventBusConfig | str | None = None,
    *,
    group: str | None = None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> EventBusConfig:
    """The config a bus runs with.

    The highest wins: environment (also the query of a URL in it), constructor arguments, the query
    of a URL, the config object, the defaults. A variable that replaces a different value that was
    chosen logs a warning.

    Args:
        config: A config, a URL, or `None` for the defaults.
        group: The constructor's name for `consumer_group`.
        environ: The environment; an empty mapping ignores it.
        overrides: Fields of `EventBusConfig` given to the constructor.

    Raises:
        ConfigurationError: A value is wrong, unknown or missing.
    """
    arguments = dict(overrides or {})
    if group is not None and arguments.setdefault("consumer_group", group) != group:
        raise ConfigurationError("group= and consumer_group= differ: they are the same, give one")
    if isinstance(config, str):
        config = Secret(config)
    try:
        return resolve(_base(config), arguments, environ)
    except ConfigurationError as error:
        # The frames below hold whole URLs, and some tools print the locals of every frame.
        raise error.with_traceback(None) from None


def _base(config: EventBusConfig | str | None) -> EventBusConfig:
    if isinstance(config, str):
        return with_url(EventBusConfig(), config)
    if config is None or isinstance(config, EventBusConfig):
        return config or EventBusConfig()
    raise ConfigurationError(f"config is {shown(config)}: use an EventBusConfig, a URL, or nothing")

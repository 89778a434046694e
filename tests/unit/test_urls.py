"""URLs: what each scheme means, what a query sets, and that no password is ever shown."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus._config import urls
from eventbus.config import (
    EventBusConfig,
    KafkaConfig,
    MemoryConfig,
    NATSConfig,
    PostgresConfig,
    Provider,
    RabbitMQConfig,
    RedisConfig,
    SQLiteConfig,
    effective_config,
    redact,
)
from eventbus.errors import ConfigurationError

CANARY = "CANARY-p@ss/%2F"
QUOTED = quote(CANARY, safe="")


def effective(url: str, **environ: str) -> EventBusConfig:
    return effective_config(url, environ=environ)


@pytest.mark.parametrize(
    ("url", "provider", "location"),
    [
        ("memory:", Provider.MEMORY, "memory:"),
        ("memory://", Provider.MEMORY, "memory:"),
        ("sqlite:////absolute.db", Provider.SQLITE, "sqlite:////absolute.db"),
        ("sqlite:////a%20b/c.db", Provider.SQLITE, "sqlite:////a b/c.db"),
        ("redis://h:6379/0", Provider.REDIS, "redis://h:6379/0"),
        ("REDISS://u:p@h", Provider.REDIS, "rediss://h"),
        ("redis://", Provider.REDIS, "redis://"),
        ("kafka://h1:9092,h2:9092", Provider.KAFKA, "kafka://h1:9092,h2:9092"),
        ("kafka://h1", Provider.KAFKA, "kafka://h1"),
        ("amqp://u:p@h/%2F", Provider.RABBITMQ, "amqp://h/%2F"),
        ("amqps://h", Provider.RABBITMQ, "amqps://h"),
        ("nats://token@h1:4222,h2:4222", Provider.NATS, "nats://h1:4222,h2:4222"),
        ("tls://h", Provider.NATS, "tls://h"),
        ("postgresql://u:p@[::1]:5432/db", Provider.POSTGRES, "postgresql://[::1]:5432/db"),
        ("postgres://%2Frun%2Fpg/db", Provider.POSTGRES, "postgres://%2Frun%2Fpg/db"),
        ("postgresql:///db?host=/run/pg", Provider.POSTGRES, "postgresql:///db"),
    ],
)
def test_a_scheme_chooses_the_provider(url: str, provider: Provider, location: str) -> None:
    config = effective(url)

    assert (config.provider, config.location) == (provider, location)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///"])
def test_sqlite_without_a_path_is_the_default_file(
    url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert effective(url).location == f"sqlite:///{tmp_path}/events.db"
    assert effective(url, EVENT_BUS_DB_PATH="other.db").location.endswith("/other.db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "unknown scheme"),
        ("memory", "unknown scheme"),
        ("h:6379", "unknown scheme"),
        ("redsi://h", "did you mean 'redis'"),
        ("http://h", "known: amqp"),
        ("memory://host", "names no place"),
        ("memory:/path", "names no place"),
        ("sqlite://relative.db", "three slashes"),
        ("sqlite:relative.db", "three slashes"),
        ("sqlite:///:memory:", "provider 'memory'"),
        ("kafka://h/topic", "names brokers alone"),
        ("kafka://", "list host:port"),
        ("kafka://u:p@h1:9092,u:p@h2:9092", "without a scheme, user or password"),
        ("redis:", "well-formed"),
        ("redis://h:99999", "well-formed"),
        ("redis://h:port", "well-formed"),
        ("redis://h#0", "well-formed"),
        ("redis://a b", "well-formed"),
        ("nats://u:p@h1,nats://u:p@h2", "well-formed"),
    ],
)
def test_a_url_that_means_nothing_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        effective(url)


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("consumer_group=billing", "consumer_group", "billing"),
        ("prefix=a%2Eb", "prefix", "a.b"),
        ("prefix=", "prefix", ""),
        ("max_in_flight=5", "max_in_flight", 5),
        ("lease=2.5", "lease", 2.5),
        ("handler_timeout=9", "handler_timeout", 9.0),
        ("handler_timeout=none", "handler_timeout", None),
        ("retention=3600", "retention", timedelta(hours=1)),
        ("le%61se=4", "lease", 4.0),
    ],
)
@pytest.mark.parametrize("place", ["memory:", "sqlite:///x.db", "redis://h", "kafka://h:1"])
def test_a_parameter_sets_a_field_of_the_bus(
    place: str, query: str, field: str, value: Any
) -> None:
    assert getattr(effective(f"{place}?{query}"), field) == value


def test_a_parameter_sets_a_field_of_the_provider() -> None:
    assert effective("memory://?buffer_size=5").memory == MemoryConfig(buffer_size=5)
    kafka = KafkaConfig(brokers="h:9092", assignor="range")
    assert effective("kafka://h:9092?assignor=range").kafka == kafka


@pytest.mark.parametrize("scheme", ["redis", "amqp", "nats", "postgresql"])
def test_a_client_gets_its_own_parameters_byte_for_byte_and_none_of_ours(scheme: str) -> None:
    config = effective(f"{scheme}://u:p%40@h/0?b=%2F&lease=5&a=1&a=2&prefix=x&c")

    assert getattr(config.provider_config, "url", "") == f"{scheme}://u:p%40@h/0?b=%2F&a=1&a=2&c"
    assert (config.lease, config.prefix) == (5.0, "x")


def test_a_url_whose_parameters_are_all_ours_loses_its_query() -> None:
    assert effective("redis://h?lease=5").redis == RedisConfig(url="redis://h")


@pytest.mark.parametrize("name", ["retry", "provider", "path", "brokers", "url", "redis", "nope"])
@pytest.mark.parametrize("place", ["memory:", "sqlite:///x.db", "kafka://h:1"])
def test_an_unknown_parameter_lists_the_known_ones(place: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is unknown: .*lease, max_concurrent"):
        effective(f"{place}?{name}=x")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("lease=soon", "lease is 'soon': use a number of seconds"),
        ("lease=", "lease is '': use a number of seconds"),
        ("lease=nan", r"EventBusConfig\.lease is nan"),
        ("retention=inf", "retention is 'inf'"),
        ("retention=1e300", "retention is '1e300'"),
        ("retention=0", r"EventBusConfig\.retention"),
        ("max_in_flight=1.5", "max_in_flight is '1.5': use a whole number"),
        ("lease=1&lease=2", "'lease' is given more than once"),
    ],
)
def test_a_wrong_parameter_names_its_field(query: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^URL.*{message}"):
        effective(f"redis://h?{query}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:pw@h:6379/0", "redis://***@h:6379/0"),
        ("redis://u:p%40w@h", "redis://***@h"),
        ("redis://u:p@w@h", "redis://***@h"),
        ("nats://token@h", "nats://***@h"),
        ("amqp://u:p@[::1]:5672/%2F", "amqp://***@[::1]:5672/%2F"),
        ("redis://h?password=pw&db=1", "redis://h?password=***&db=1"),
        ("redis://h?p%61ssword=pw", "redis://h?p%61ssword=***"),
        ("redis://h?ssl_ca=x&sslpassword=pw&user=u", "redis://h?ssl_ca=x&sslpassword=***&user=***"),
        ("redis://h?pw", "redis://h?***"),
        ("redis://u:pa/ss@h", "redis://***"),
        ("redis://u:12?x=a@h", "redis://***"),
        ("redis://u:12#a@h", "redis://***"),
        ("kafka://u:p@h1:9092,u:p@h2:9092", "kafka://***@h2:9092"),
        ("nats://u:p@h1,nats://u:p@h2", "nats://***"),
        ("u:p@h1:9092,h2:9092", "***"),
        ("h1:9092,[::1]:9092", "h1:9092,[::1]:9092"),
        ("memory:", "memory:"),
        ("host=h password=pw", "***"),
        ("pw", "***"),
        ("", "***"),
    ],
)
def test_redacting_keeps_what_is_no_secret(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize("url", ["h:6379", "memory:", "redis://u:p@h", "pw"])
def test_a_secret_is_represented_as_it_is_redacted(url: str) -> None:
    assert repr(urls.Secret(url)) == repr(redact(url))


@pytest.mark.parametrize("name", ["PASSWD", "api%5Fkey", "auth_token", "p%61ss", "password", "sig"])
def test_a_secret_parameter_is_masked_and_others_are_not(name: str) -> None:
    assert redact(f"redis://h?a=1&{name}=pw&b=2") == f"redis://h?a=1&{name}=***&b=2"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("nats://a:1,b:2", "a:1,b:2"),
        ("postgresql://%2Fvar%2Frun/db", "%2Fvar%2Frun"),
        ("postgresql:///db", ""),
        ("redis://u@[::1]:6379/0", "[::1]:6379"),
    ],
)
def test_hosts_are_found(url: str, hosts: str) -> None:
    parts = urls.parse(url)

    assert parts is not None
    assert parts.hosts == hosts


@pytest.mark.parametrize(
    "url",
    ["", "://h", "redis:h", "redis://a b", "redis://h/p@q", "redis://h:65536", "redis://h:x"],
)
def test_what_is_not_well_formed_has_no_parts(url: str) -> None:
    assert urls.parse(url) is None


SCHEMES = ["redis", "rediss", "amqp", "nats", "postgresql", "kafka", "sqlite", "memory", "http"]


@given(
    st.sampled_from(SCHEMES),
    st.text(max_size=8),
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["h", "h:1", "[::1]:1", "h1:1,h2:2"]),
    st.sampled_from(["", "/0", "/0?a=b"]),
)
def test_no_part_of_a_password_survives_whatever_it_is(
    scheme: str, user: str, noise: str, host: str, rest: str
) -> None:
    password = f"Ⓢ{noise}Ⓔ"
    for secret in (password, quote(password), quote(password, safe="")):
        for shown in (redact, urls.location):
            text = shown(f"{scheme}://{user}:{secret}@{host}{rest}")
            assert not {"Ⓢ", "Ⓔ", quote("Ⓢ"), quote("Ⓔ")} & set(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    for size in (1, 9):
        yield from (text[start : start + size] for start in range(len(text)))


CONFIGS: dict[str, Any] = {
    "redis": RedisConfig,
    "amqp": RabbitMQConfig,
    "nats": NATSConfig,
    "postgresql": PostgresConfig,
}
VARIABLES = {
    "redis": "REDIS_URL",
    "amqp": "RABBITMQ_URL",
    "nats": "NATS_URL",
    "postgresql": "POSTGRES_URL",
    "kafka": "KAFKA_BROKERS",
    "sqlite": "EVENT_BUS_DB_PATH",
}
PROVIDERS = {"amqp": "rabbitmq", "postgresql": "postgres"}


def urls_with_password(scheme: str) -> Iterator[str]:
    for secret in (CANARY, QUOTED):
        yield from _urls(scheme, secret)
        if scheme != "sqlite":  # Without :// it is the name of a file.
            yield f"{scheme}:{secret}"
            yield f"user:{secret}@host:1234"


def _urls(scheme: str, secret: str) -> Iterator[str]:
    yield f"{scheme}://user:{secret}@host:1234/0"
    yield f"{scheme}://user:{secret}@[::1]:1234/0?lease=x"
    yield f"{scheme}://:{secret}@host:1234,host2:1234?lease=7"
    yield f"{scheme}://host:1234/0?password={secret}"
    yield f"{scheme}://host:1234?lease=1&sslpassword={secret}&lease=2"
    yield f"{scheme}://host:1234?{secret}"
    yield f"wrong://user:{secret}@host"


def uses(scheme: str, url: str) -> Iterator[Any]:
    """Every way to hand over a URL, each as a function."""
    provider = PROVIDERS.get(scheme, scheme)
    env = {"EVENT_BUS_PROVIDER": provider}
    yield lambda: effective(url)
    yield lambda: effective(url, EVENT_BUS_PROVIDER="memory")
    yield lambda: effective(f"{scheme}://other", **{VARIABLES.get(scheme, "X"): url})
    yield lambda: effective("memory:", **env, **{VARIABLES.get(scheme, "X"): url})
    yield lambda: effective("memory:", EVENT_BUS_PROVIDER=url)
    yield lambda: effective("memory:", EVENT_BUS_PREFIX=url)
    yield lambda: effective("memory:", EVENT_BUS_CONSUMER_GROUP=url)
    yield lambda: effective("memory:", EVENT_BUS_BUFFER_SIZE=url)
    yield lambda: effective(url, **{VARIABLES.get(scheme, "X"): f"{scheme}://new:1"})
    yield lambda: KafkaConfig(brokers=url)
    yield lambda: KafkaConfig(brokers=[url], assignor=url)
    yield lambda: KafkaConfig(assignor=url)
    yield lambda: EventBusConfig(consumer_group=url)
    yield lambda: EventBusConfig(prefix=url)
    yield lambda: EventBusConfig(lease=url)  # type: ignore[arg-type]
    yield lambda: EventBusConfig(retry=url)  # type: ignore[arg-type]
    yield lambda: EventBusConfig(redis=url)  # type: ignore[arg-type]
    yield lambda: EventBusConfig(provider=url)
    for config in CONFIGS.values():
        yield lambda config=config: config(url=url)
        yield lambda config=config: config(url=url.encode())
        yield lambda config=config: config(url=[url])


def shown_by(use: Any) -> str:
    """All that a use shows: representations, or the error with its traceback and causes."""
    try:
        made = use()
    except ConfigurationError as error:
        return f"{error!r} {error} " + "".join(traceback.format_exception(error))
    parts = [repr(made), str(made), f"{made}", made.location if hasattr(made, "location") else ""]
    if isinstance(made, EventBusConfig):
        parts += [repr(made.provider_config), str(made.provider_config)]
        parts += [repr(getattr(made.provider_config, "url", None))]
    return " ".join(parts)


@pytest.mark.parametrize("scheme", [*CONFIGS, "kafka", "sqlite", "memory"])
def test_no_password_is_ever_shown(scheme: str) -> None:
    log, logger = io.StringIO(), logging.getLogger("eventbus")
    handler = logging.StreamHandler(log)
    logger.addHandler(handler)
    try:
        shown = [shown_by(use) for url in urls_with_password(scheme) for use in uses(scheme, url)]
    finally:
        logger.removeHandler(handler)

    assert "CANARY" not in "".join(shown)
    assert "CANARY" not in log.getvalue()


def test_the_client_still_gets_the_password() -> None:
    url = f"redis://user:{QUOTED}@h"
    config = effective(url)

    assert isinstance(config.redis, RedisConfig)
    assert config.redis.url == str(config.redis.url) == f"{config.redis.url}" == url


def test_an_errors_traceback_holds_no_frame_with_the_url_below_the_bus() -> None:
    with pytest.raises(ConfigurationError) as caught:
        effective(f"redis://:{QUOTED}@h?lease=x")

    entry = list(caught.traceback)[-1]
    assert entry.name == "effective_config"
    assert "CANARY" not in repr(entry.locals)


def test_an_sqlite_file_may_have_any_name() -> None:
    config = effective("sqlite:////a%3Fb@c%23d.db")

    assert config.sqlite == SQLiteConfig(path="/a?b@c#d.db")


def test_a_kafka_url_may_say_whom_to_log_in_as():
    config = effective("kafka://bus:p%40ss@h1:9092,h2:9092?tls=true&partitions=3")
    own = config.provider_config
    assert (own.brokers, own.username, own.password) == (("h1:9092", "h2:9092"), "bus", "p@ss")
    assert (own.tls, own.partitions) == (True, 3)
    assert "p@ss" not in repr(config)

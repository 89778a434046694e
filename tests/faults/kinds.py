"""The server transports under test: how each is made, and hurt where its way is its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import pytest
from msgspec.structs import replace

from eventbus.transports import capabilities
from tests.conformance import kafka, rabbitmq
from tests.servers import Nats, Postgres, RabbitMQ, Redis, Server
from tests.transports import nats_streams
from tests.transports.kafka_server import BusKafka

from .checker.rules import Rules

#: Of every server here.
PASSWORD = "first-secret"


class Kind(NamedTuple):
    """One transport's server.

    Attributes:
        make: a server, given its folder and perhaps a password.
        wipe: lose all events and subscriptions under a running server, as a person's mistake does.
        let_in_by: from now on clients need another password, those that are connected too.
        renew: empties a running server; where another one takes long to start, all tests share one.
        recovery: seconds until handling goes on after a fault. While a server starts for long, the
            pauses between two attempts to reconnect grow, to half a minute at most.
        session: seconds that a group gives once more to who has died while it waited for another.
        reconnect: seconds until a client that goes on by itself has the broker again.
        unaware: seconds in which it may hand events to a member that was killed.
        relay: ports for a relay in front of it: where to pass bytes to, and where to listen.
    """

    make: Callable[..., Any]
    wipe: Callable[[Any], None] = lambda server: server.wipe()
    let_in_by: Callable[[Any, str], None] = lambda server, word: _restart_with(server, word)
    renew: Callable[[Any], None] | None = None
    recovery: float = 7.0
    session: float = 0.0
    reconnect: float = 0.0
    unaware: float = 0.0
    relay: Callable[[Any], tuple[int, int]] = lambda server: (server.port, 0)

    def fit(self, rules: Rules) -> Rules:
        """Rules with what is this server's own, but for how long a fault may be felt."""
        able = capabilities(self.make.name)
        return replace(
            rules, leases=able.receipts_survive, session=self.session, reconnect=self.reconnect,
            unaware=self.unaware,
            # What is done waits for company before it is settled.
            settle_window=2.5 * able.settle_interval,
        )


def _restart_with(server: Server, password: str) -> None:
    """Where the password is a part of the configuration."""
    server.password = password
    server.restart()


def _drop_tables(server: Postgres) -> None:
    # In the order in which readers lock them, or one of the two would be a deadlock's victim.
    names = ("subscription", "log", "lease", "inbox", "dead")
    _as_admin(server, f"DROP TABLE {', '.join(f'eventbus.{name}' for name in names)}")


def _change_role(server: Postgres, password: str) -> None:
    _as_admin(
        server, f"ALTER ROLE bus PASSWORD '{password}'",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'bus'",
    )


def _change_user(server: RabbitMQ, password: str) -> None:
    rabbitmq.control(
        server, "eval",
        f'rabbit_auth_backend_internal:change_password(<<"bus">>, <<"{password}">>, <<"test">>),'
        'rabbit_networking:close_connections(rabbit_networking:connections(), "test").',
    )


def _empty(server: RabbitMQ) -> None:
    rabbitmq.empty(server.url)


def _as_admin(server: Postgres, *statements: str) -> None:
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement)


KINDS = {
    "redis": Kind(Redis),
    "nats": Kind(Nats, wipe=lambda server: nats_streams.delete_all(server.url), unaware=0.5),
    "rabbitmq": Kind(
        RabbitMQ, wipe=_empty, let_in_by=_change_user, renew=_empty, recovery=35.0, unaware=0.5,
    ),
    "postgres": Kind(Postgres, wipe=_drop_tables, let_in_by=_change_role),
    "kafka": Kind(
        BusKafka, wipe=kafka.empty, renew=kafka.empty, recovery=9.0,
        session=6.0, reconnect=0.7, unaware=0.5,
        relay=lambda server: (server.port_of("relayed"), server.port_of("relay")),
    ),
}


SERVERS = [pytest.param(KINDS[name], id=name, marks=getattr(pytest.mark, name)) for name in KINDS]

"""One private server per kind and test module: starting some of them takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import KINDS, Nats, Postgres, Redis, Server


def of(*kinds: type[Server]) -> list:
    """Parameters for tests of these kinds, each with the mark of its server."""
    marks = pytest.mark
    return [pytest.param(kind, id=kind.name, marks=getattr(marks, kind.name)) for kind in kinds]


def _private(request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Iterator[Server]:
    with request.param(factory.mktemp(request.param.name)) as server:
        yield server


@pytest.fixture(scope="module", params=of(*KINDS))
def any_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from _private(request, tmp_path_factory)


@pytest.fixture(scope="module", params=of(Redis, Nats, Postgres))
def fast_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from _private(request, tmp_path_factory)


@pytest.fixture
def running(any_server: Server) -> Server:
    """Of each kind one, running, whatever the test before has done to it."""
    any_server.start()
    return any_server


@pytest.fixture
def quick(fast_server: Server) -> Server:
    """As `running`, of the kinds that start in less than a second."""
    fast_server.start()
    return fast_server

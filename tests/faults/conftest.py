"""Each test that asks for a server gets one of each kind in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers import Server

from .kinds import PASSWORD, SERVERS, Kind

Shared = Callable[[Kind], Server]


@pytest.fixture(params=SERVERS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The one server of a kind with `renew`: running, whatever was done to it, and empty."""
    servers: dict[Kind, Server] = {}
    with ExitStack() as stack:

        def as_new(kind: Kind) -> Server:
            if kind not in servers:
                folder = tmp_path_factory.mktemp("shared") / "server"
                servers[kind] = stack.enter_context(kind.make(folder, password=PASSWORD))
            servers[kind].start()
            assert kind.renew is not None
            kind.renew(servers[kind])
            return servers[kind]

        yield as_new


@pytest.fixture
def server(kind: Kind, shared: Shared, tmp_path: Path) -> Iterator[Server]:
    """To be hurt."""
    if kind.renew is not None:
        yield shared(kind)
        return
    with kind.make(tmp_path / "server", password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def unhurt(
    kind: Kind, shared: Shared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Of all tests of a file, which leave it as it is."""
    if kind.renew is not None:
        yield shared(kind)
        return
    with kind.make(tmp_path_factory.mktemp("unhurt") / "server", password=PASSWORD) as server:
        yield server

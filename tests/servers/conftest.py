"""One private server per kind and test module: starting some of them takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import KINDS, Server


def of(*kinds: type[Server]) -> list:
    """Parameters for tests of these kinds, each with the mark of its server."""
    marks = pytest.mark
    return [pytest.param(kind, id=kind.name, marks=getattr(marks, kind.name)) for kind in kinds]


@pytest.fixture(scope="module", params=of(*KINDS))
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Runs at the beginning of each test, whatever the one before has done to it."""
    with request.param(tmp_path_factory.mktemp(request.param.name)) as server:
        yield server


@pytest.fixture
def running(server: Server) -> Server:
    server.start()
    return server

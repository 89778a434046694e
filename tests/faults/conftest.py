"""Each test that asks for a server gets one of each kind in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server

from .kinds import SERVERS, Kind


@pytest.fixture(params=SERVERS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    made: Kind = request.param
    return made


@pytest.fixture
def server(kind: Kind, tmp_path: Path) -> Iterator[Server]:
    """Of this test alone, to be hurt."""
    with kind.make(tmp_path / "server") as server:
        yield server


@pytest.fixture(scope="module")
def unhurt(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of all tests of a file, which leave it as it is."""
    with kind.make(tmp_path_factory.mktemp("unhurt") / "server") as server:
        yield server

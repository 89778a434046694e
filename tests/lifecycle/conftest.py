from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory:", "sqlite:///{}/events.db"], ids=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each transport that needs no server."""
    return str(request.param).format(tmp_path)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/events.db"

"""One suite over the capabilities record: each test runs on every transport that can do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus.transports import capabilities
from tests.conformance.kafka import no_client_left
from tests.conformance.target import ENTRIES, Gate, Target

__all__ = ["gate", "no_client_left", "target"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(**capabilities): only for transports whose record has these values"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each transport that offers what the test needs, and none for the others."""
    if "target" in metafunc.fixturenames:
        wanted: dict[str, bool] = {}
        for mark in metafunc.definition.iter_markers("needs"):
            wanted.update(mark.kwargs)
        params = [
            pytest.param(name, marks=entry.marks, id=name)
            for name, entry in ENTRIES.items()
            if all(getattr(capabilities(name), key) is value for key, value in wanted.items())
        ]
        metafunc.parametrize("target", params, indirect=True)


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """A transport; closes its buses in the end."""
    made = Target(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def gate(target: Target) -> Iterator[Gate]:
    """Where handlers wait; opens before the buses are closed."""
    made = Gate()
    yield made
    made.open()

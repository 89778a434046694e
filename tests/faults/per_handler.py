"""Places where success is recorded per handler."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.servers import provide

from .brokers import Place, sqlite


@contextmanager
def _postgres(folder: Path) -> Iterator[Place]:
    """Others may use the same server."""
    url, schema = provide("postgres"), f"success_{os.getpid()}"
    try:
        yield Place(f"{url}?schema={schema}")
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@contextmanager
def _sqlite(folder: Path) -> Iterator[Place]:
    yield sqlite(folder)


PLACES = [
    pytest.param(_sqlite, id="sqlite"),
    pytest.param(_postgres, id="postgres", marks=pytest.mark.postgres),
]

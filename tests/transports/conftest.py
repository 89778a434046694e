"""What the tests of several transports share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import kafka
from tests.servers import Certificates, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For a server, and of who has signed it."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", autouse=True)
def no_kafka_client_left() -> Iterator[None]:
    """One that lives on opens pipes when it likes, while other tests count open files."""
    yield
    kafka.admin.cache_clear()

"""What the tests of several transports share."""

from __future__ import annotations

import pytest

from tests.conformance.kafka import no_client_left
from tests.servers import Certificates, make_certificates

__all__ = ["certificates", "no_client_left"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For a server, and of who has signed it."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))

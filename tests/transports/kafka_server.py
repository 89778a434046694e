"""Kafka's handle with an address as a bus takes it; the handle itself has a list of brokers."""

from __future__ import annotations

from urllib.parse import quote

from tests.servers import Kafka


class BusKafka(Kafka):
    """Kafka whose `url` has a scheme, and whom to log in as."""

    @property
    def url(self) -> str:
        login = f"bus:{quote(self.password, safe='')}@" if self.password else ""
        return f"kafka://{login}127.0.0.1:{self.port}"

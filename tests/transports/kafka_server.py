"""Kafka's handle with an address as a bus takes it; the handle itself has a list of brokers."""

from __future__ import annotations

from urllib.parse import quote

from tests.servers import Kafka


class BusKafka(Kafka):
    """Kafka whose `url` has a scheme, and whom to log in as.

    Brokers tell clients where to connect to. So that a relay can stand in between, there is a
    second port, whose clients are told to use the relay's.
    """

    port_names = ("main", "controller", "relayed", "relay")

    @property
    def url(self) -> str:
        login = f"bus:{quote(self.password, safe='')}@" if self.password else ""
        return f"kafka://{login}127.0.0.1:{self.port}"

    def _settings(self) -> dict[str, str]:
        found = super()._settings()
        relayed, relay = self.port_of("relayed"), self.port_of("relay")
        told = f"CLIENTS://127.0.0.1:{self.port},RELAYED://127.0.0.1:{relay}"
        login = found.get("listener.name.clients.plain.sasl.jaas.config")
        return {
            **found,
            "listeners": found["listeners"] + f",RELAYED://127.0.0.1:{relayed}",
            "advertised.listeners": told,
            "listener.security.protocol.map": found["listener.security.protocol.map"]
            + f",RELAYED:{self.protocol}",
            **({"listener.name.relayed.plain.sasl.jaas.config": login} if login else {}),
        }

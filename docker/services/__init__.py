"""The five servers that the transports are for, started as plain processes or in containers.

Standard library only: it runs before any virtual environment exists. `python3 -m services` with
this folder's parent on the path is what `make services` calls; tests import it as
`tests.servers`.
"""

from __future__ import annotations

from .certificates import Certificates, make_certificates
from .errors import ServerError
from .kafka import Kafka
from .nats import Nats
from .postgres import Postgres
from .rabbitmq import RabbitMQ
from .redis import Redis
from .server import Server

__all__ = [
    "Certificates",
    "Kafka",
    "Nats",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "Server",
    "ServerError",
    "make_certificates",
]

"""How the suite reaches RabbitMQ, and takes away what a test has left there, in milliseconds."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from pika import spec

from eventbus import RabbitMQConfig
from eventbus.transports.base import Settings
from eventbus.transports.rabbitmq import RabbitMQTransport, names
from tests.servers import RabbitMQ, provide

SETTINGS = Settings(prefix="", lease=30.0, retention=60.0, publish_timeout=5.0)

#: Beside the server, where Debian keeps it; elsewhere on the PATH.
CTL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")

#: Asked once: to see that the server answers takes longer than many a test.
url = cache(lambda: provide("rabbitmq"))


def config(folder: Path) -> dict[str, Any]:
    return {"rabbitmq": RabbitMQConfig(url=url())}


def reset() -> None:
    empty(url())


def empty(url: str) -> None:
    """Delete the exchange and all queues that the registry leads to."""
    transport = RabbitMQTransport(RabbitMQConfig(url=url), SETTINGS)
    try:
        entries = transport._registry.read().entries
        groups = {entry.group for entry in entries}
        queues = [names.queue(entry) for entry in entries]  # type: ignore[arg-type]
        queues += [name(group) for group in groups for name in (names.parked, names.dead)]
        with transport._asking() as asker:
            asker.call(
                *(spec.Queue.Delete(queue=name) for name in (*queues, names.REGISTRY)),
                spec.Exchange.Delete(exchange=names.EXCHANGE),
            )
    finally:
        transport.close()


def control(server: RabbitMQ, *arguments: str) -> None:
    """What an administrator does, with `rabbitmqctl`; takes a second or two."""
    program = str(CTL) if CTL.exists() else "rabbitmqctl"
    environment = {**os.environ, **server.environment()}
    subprocess.run([program, *arguments], env=environment, check=True, capture_output=True)

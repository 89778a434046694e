"""Taking away what tests have left on a RabbitMQ server, in milliseconds."""

from __future__ import annotations

from pika import spec

from eventbus import RabbitMQConfig
from eventbus.transports.base import Settings
from eventbus.transports.rabbitmq import RabbitMQTransport, names

SETTINGS = Settings(prefix="", lease=30.0, retention=60.0, publish_timeout=5.0)


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

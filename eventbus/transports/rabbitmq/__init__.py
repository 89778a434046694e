"""RabbitMQ: one durable topic exchange, one quorum queue per subscription.

Patterns are bindings of the exchange, so nothing is lost of topics that are younger than a
subscription. Parked events and dead letters have durable queues per group.
"""

from .transport import CAPABILITIES, RabbitMQTransport

__all__ = ["CAPABILITIES", "RabbitMQTransport"]

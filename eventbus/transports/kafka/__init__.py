"""Events in Kafka topics: a topic per event type, a consumer group per subscription.

What is below a partition's committed offset is settled. What is settled above it, and who has been
taking it up, travels with the commit as its metadata (`notes`). Births are records of one internal
topic, and the first of them counts (`registry`).
"""

from .transport import KafkaTransport

__all__ = ["KafkaTransport"]

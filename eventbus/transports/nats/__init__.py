"""NATS JetStream: events in file streams, a durable pull consumer per subscription and stream.

An event's subject is its topic, framed as Watermill does. What NATS itself cannot say, such as a
pattern with `**` in its middle, is a broader filter on the server and our matcher here. All of
our own lies under `_eventbus`: a registry of subscriptions, inboxes, marks and dead letters.
"""

from .transport import CAPABILITIES, NATSTransport

__all__ = ["CAPABILITIES", "NATSTransport"]

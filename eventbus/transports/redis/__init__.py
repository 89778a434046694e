"""Redis streams: a stream per topic, a consumer group per subscription.

The consumer group of a literal pattern is the service's own, so that Watermill members share it;
each wildcard has a group of its own on every stream it matches. A registry of topics, changed
together with the births of subscriptions, makes wildcards loss-free.
"""

from .transport import CAPABILITIES, RedisTransport

__all__ = ["CAPABILITIES", "RedisTransport"]

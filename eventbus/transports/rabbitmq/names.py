"""Names and arguments of what we keep on the server."""

from __future__ import annotations

import hashlib
from typing import Any

from pika import spec

from ...patterns import shorten
from ..base import SubscriptionId

#: The topic exchange to which all events go.
EXCHANGE = "eventbus"
#: What subscriptions and topics there are.
REGISTRY = "eventbus.registry"
#: Longest name that the server takes, in bytes.
LIMIT = 255
#: Returns after which a quorum queue may drop a message. From 4.0 on the server's default is 20,
#: and -1 stands for none; 3.x knows no -1, so this is a number that nothing ever reaches.
DELIVERY_LIMIT = 2_000_000_000
#: Milliseconds for which the mark of an event that ran alone is kept.
MARK_EXPIRES = 30 * 86_400_000

QUORUM: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
#: Its one reader at a time is alone with it.
LOCKING: dict[str, Any] = {**QUORUM, "x-single-active-consumer": True}
#: Reading a quorum queue is limited to 65,535 messages; dead letters may be more.
DEAD: dict[str, Any] = {"x-queue-type": "classic", "x-single-active-consumer": True}
MARK: dict[str, Any] = {"x-queue-type": "classic", "x-expires": MARK_EXPIRES}


def queue(id: SubscriptionId) -> str:
    """The queue of a subscription."""
    return shorten(f"eventbus.events.{id.group}|{id.pattern}", LIMIT)


def parked(group: str) -> str:
    """Where a group's events wait until they are due."""
    return shorten(f"eventbus.parked.{group}", LIMIT)


def dead(group: str) -> str:
    """A group's dead letters."""
    return shorten(f"eventbus.dead.{group}", LIMIT)


def mark(id: SubscriptionId, identity: str) -> str:
    """A queue whose existence says that an event was begun alone."""
    text = f"{id.group}|{id.pattern}|{identity}"
    return f"eventbus.started.{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def routing_key(pattern: str) -> str:
    """A pattern in the server's words."""
    return ".".join("#" if segment == "**" else segment for segment in pattern.split("."))


def declare_queue(name: str, arguments: dict[str, Any]) -> Any:
    return spec.Queue.Declare(queue=name, durable=True, arguments=arguments)


def look_at_queue(name: str) -> Any:
    return spec.Queue.Declare(queue=name, passive=True)


def declare_exchange() -> Any:
    return spec.Exchange.Declare(exchange=EXCHANGE, type="topic", durable=True)


def look_at_exchange() -> Any:
    return spec.Exchange.Declare(exchange=EXCHANGE, type="topic", passive=True)


def bind(id: SubscriptionId) -> Any:
    return spec.Queue.Bind(
        queue=queue(id), exchange=EXCHANGE, routing_key=routing_key(id.pattern)
    )

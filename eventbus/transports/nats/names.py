"""Names on the server. Topics are subjects of their own name; all else begins with `_eventbus`."""

from __future__ import annotations

import hashlib
import re

from ...patterns import shorten
from ..base import SubscriptionId

#: Streams of events: this one for topics without a prefix, others derive their name from it.
EVENTS = "eventbus"
#: The registry and marks; dead letters; events for one subscription alone; what was handed back.
STATE = "_eventbus_state"
DEAD = "_eventbus_dead"
INBOX = "_eventbus_inbox"
FREED = "_eventbus_freed"

#: A stream needs a subject; nothing is ever published to this one.
PLACEHOLDER = "_eventbus.topics"
#: Rings, unstored, when there is something to look for besides new events.
BELL = "_eventbus.bell"

SUBSCRIPTIONS = "_eventbus.subscription.*"
#: Held by whoever changes streams.
LOCK = "_eventbus.lock"
DEAD_LETTERS = "_eventbus.dead.*.*"
INBOXES = "_eventbus.inbox.*.*"

#: Consumers may have names of 255 bytes; an inbox's is longer by its handler.
_LONGEST = 200
_SAFE = re.compile(r"[A-Za-z0-9_-]+")


def events_stream(prefix: str) -> str:
    return f"{EVENTS}-{token(prefix)}" if prefix else EVENTS


def token(name: str) -> str:
    """A name or a pattern as one segment of a subject, unique."""
    return name.replace(".", "=").replace("*", "+").replace(">", "~")


def is_token(text: str) -> bool:
    """Whether it can stand in a subject as it is; what a user passes as an id may not."""
    return _SAFE.fullmatch(text) is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def durable(id: SubscriptionId) -> str:
    """The name of a subscription's consumers; no group contains a comma."""
    return shorten(token(f"{id.group},{id.pattern}"), _LONGEST)


def inbox_durable(id: SubscriptionId, handler: str | None) -> str:
    return f"{durable(id)},{handler_token(handler)}"


def handler_token(handler: str | None) -> str:
    """Handlers have names of any kind; `all` stands for none in particular."""
    return "all" if handler is None else _digest(handler)


def epoch(stream: str, created: str) -> str:
    """Tells a stream from another one of the same name that was there before."""
    return _digest(f"{stream} {created}")[:12]


def subscription(id: SubscriptionId) -> str:
    return f"_eventbus.subscription.{durable(id)}"


def dead(group: str, id: str) -> str:
    return f"_eventbus.dead.{token(group)}.{id}"


def inbox(id: SubscriptionId, handler: str | None) -> str:
    return f"_eventbus.inbox.{durable(id)}.{handler_token(handler)}"


def inboxes(id: SubscriptionId) -> str:
    return f"_eventbus.inbox.{durable(id)}.*"


def started(durable: str, epoch: str, sequence: int) -> str:
    """Where it is marked that an event runs alone."""
    return f"_eventbus.started.{durable}.{epoch}.{sequence}"


def freed(durable: str, epoch: str) -> str:
    """Where it is noted which events were handed back, and not left by a dead member."""
    return f"_eventbus.freed.{durable}.{epoch}"

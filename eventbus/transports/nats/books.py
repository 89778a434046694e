"""Our own books on the server: the registry with its marks, inboxes, dead letters, hand-backs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import TopologyError
from . import names
from .errors import IN_USE, NO_STREAM, OVERLAP, Refused
from .link import Link

SECOND = 1_000_000_000
#: Seconds in which the server recognises a second copy of an event: longer than any publish.
WINDOW = 60
#: Seconds for which it is remembered what was handed back; a forgotten hand-back is a suspicion.
FREED_AGE = 86_400


def config(link: Link, name: str, subjects: Sequence[str], **more: object) -> dict[str, Any]:
    return {
        "name": name, "subjects": list(subjects), "retention": "limits", "storage": "file",
        "num_replicas": link.replicas, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
        "max_consumers": -1, **more,
    }


#: The streams of our books.
_BOOKS: dict[str, tuple[list[str], dict[str, object]]] = {
    names.STATE: (
        [names.SUBSCRIPTIONS, names.LOCK, "_eventbus.started.>"],
        {"max_msgs_per_subject": 1, "discard": "new"},
    ),
    names.DEAD: ([names.DEAD_LETTERS], {"discard": "new", "duplicate_window": WINDOW * SECOND}),
    names.INBOX: (
        [names.INBOXES],
        {"retention": "workqueue", "discard": "new", "duplicate_window": WINDOW * SECOND},
    ),
    names.FREED: (
        ["_eventbus.freed.*.*"], {"storage": "memory", "max_age": FREED_AGE * SECOND}
    ),
}


async def ensure(link: Link, name: str) -> None:
    """Make one of our own books if it does not exist."""
    subjects, more = _BOOKS[name]
    try:
        await link.api(f"STREAM.INFO.{name}")
    except Refused as error:
        if error.code != NO_STREAM:
            raise
        try:
            await link.api(f"STREAM.CREATE.{name}", config(link, name, subjects, **more))
        except Refused as error:
            if error.code == OVERLAP:
                raise TopologyError(
                    f"{link.name}: another stream has subjects under _eventbus, which belong to "
                    f"{name}: change that stream"
                ) from None
            if error.code != IN_USE:
                raise

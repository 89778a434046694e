"""What is right and wrong with a server, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import TransportError
from ..base import Finding, SubscriptionId
from . import keys
from .frames import mapping
from .link import Link
from .registry import matching

#: `XPENDING ... IDLE` and `XINFO` as they are used here came with 6.2; lag with 7.0.
OLDEST, CURRENT = (6, 2), (7, 0)


def findings(
    link: Link, subscriptions: Iterable[SubscriptionId], lease: float
) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    yield _version(link)
    yield _setting(
        link, "maxmemory-policy", lambda value: value == "noeviction" or "volatile" in value,
        "the server may evict streams, with everything in them: set it to noeviction",
    )
    yield _setting(
        link, "appendonly", lambda value: value == "yes",
        "events since the last snapshot are lost when the server dies: set it to yes",
    )
    yield _setting(
        link, "appendfsync", lambda value: value == "always",
        "up to a second of confirmed events is lost when the machine dies: always loses none",
    )
    for id in subscriptions:
        yield _subscription(link, id, lease)


def _version(link: Link) -> Finding:
    info = link.call("INFO", "server").decode()
    lines = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    text = lines.get("redis_version", "0.0")
    number = tuple(int(part) for part in text.split(".")[:2])
    if number < OLDEST:
        return Finding("error", "version", f"Redis {text}: at least 6.2 is needed")
    if number < CURRENT:
        return Finding("warning", "version", f"Redis {text}: backlogs are counted slowly before 7")
    return Finding("ok", "version", f"Redis {text}")


def _setting(link: Link, name: str, good: object, advice: str) -> Finding:
    try:
        value = link.call("CONFIG", "GET", name)[1].decode()
    except (TransportError, IndexError):
        return Finding("warning", name, "the server does not tell (CONFIG GET is denied)")
    if good(value):  # type: ignore[operator]
        return Finding("ok", name, value)
    return Finding("warning", name, f"{value}: {advice}")


def _subscription(link: Link, id: SubscriptionId, lease: float) -> Finding:
    group = keys.group_of(id)
    pending = lag = stuck = 0
    for stream in matching(id, link.call("SMEMBERS", keys.TOPICS)):
        (answer,) = link.replies([("XINFO", "GROUPS", stream)])
        for about in map(mapping, answer if isinstance(answer, list) else ()):
            if about[b"name"] == group.encode():
                pending += int(about[b"pending"])
                lag += int(about.get(b"lag") or 0)
                idle = int(2 * lease * 1000)
                stuck += len(link.call("XPENDING", stream, group, "IDLE", idle, "-", "+", 1000))
    subject = f"{id.pattern} of {id.group}"
    text = f"{lag} waiting, {pending} pending"
    if stuck:
        return Finding("warning", subject, f"{text}, {stuck} of them stuck: no member is alive")
    return Finding("ok", subject, text)

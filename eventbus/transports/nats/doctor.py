"""What is right and wrong with a server, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from ..base import Finding
from . import books, consumers, names, streams
from .link import Link
from .registry import Record
from .streams import Stream

#: The oldest version that is tested; the first one that can do all we ask of it.
OLDEST, CURRENT = (2, 9), (2, 10)


async def findings(link: Link, records: Sequence[Record], lease: float) -> list[Finding]:
    """One line for each thing that was looked at."""
    found = [_version(link), await _account(link), _syncing()]
    for stream in await streams.event_streams(link):
        found += _stream(link, stream)
    for record in records:
        found += [line async for line in _subscription(link, record, lease)]
    return found


def _version(link: Link) -> Finding:
    text = f"NATS {link.version_text}"
    if link.version < OLDEST:
        return Finding("error", "version", f"{text}: at least 2.9 is needed")
    if link.version < CURRENT:
        return Finding(
            "warning", "version", f"{text}: patterns like 'user.**' read more than they need to"
        )
    return Finding("ok", "version", text)


async def _account(link: Link) -> Finding:
    about = await link.api("INFO")
    limit, used = about["limits"]["max_storage"], about["storage"]
    if limit > 0 and used > 0.8 * limit:
        return Finding(
            "warning", "storage", f"{used} of {limit} bytes are used: publishing fails when it is"
            " full; raise the account's limit, or shorten the retention"
        )
    return Finding("ok", "storage", f"{used} bytes in {about['streams']} streams")


def _syncing() -> Finding:
    return Finding(
        "warning", "sync_interval", "the server does not tell: unless it is `always` in "
        "jetstream {...}, what was confirmed in the last two minutes is lost with the machine"
    )


def _stream(link: Link, stream: Stream) -> list[Finding]:
    config: dict[str, Any] = stream.config
    subject = f"stream {stream.name}"
    found = []
    if config.get("storage") != "file":
        found.append(Finding("warning", subject, "is in memory: a restart loses its events"))
    limits = [
        name for name in ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject")
        if config.get(name, 0) > 0
    ]
    discards = config.get("discard") == "old" or "max_age" in limits
    if limits and discards:
        found.append(Finding(
            "warning", subject, f"{', '.join(limits)}: the server discards events, also those "
            "that nobody has had yet; set discard to new, and no max_age"
        ))
    if "cluster" in config or (link.replicas > 1 and config.get("num_replicas", 1) == 1):
        found.append(Finding("warning", subject, "has one replica only"))
    return found or [Finding("ok", subject, f"{', '.join(stream.subjects)}; nothing is discarded")]


async def _subscription(
    link: Link, record: Record, lease: float
) -> AsyncIterator[Finding]:
    id = record.id
    subject = f"{id.pattern} of {id.group}"
    for stream in await streams.event_streams(link):
        if not streams.concerns(stream, id.pattern):
            continue
        about = await consumers.info(link, stream.name, names.durable(id))
        if about is None:
            yield Finding("warning", subject, f"has no consumer on {stream.name} yet")
            continue
        text = f"{about['num_pending']} waiting, {about['num_ack_pending']} pending"
        wait = about["config"]["ack_wait"] / books.SECOND
        if about["num_ack_pending"] and not about["num_waiting"]:
            yield Finding("warning", subject, f"{text}, and no member asks for more")
        elif wait > lease:
            yield Finding(
                "warning", subject, f"{text}; a lost member's events wait {wait:g} s instead of "
                f"{lease:g} s: drop and declare it again to shorten that"
            )
        else:
            yield Finding("ok", subject, text)

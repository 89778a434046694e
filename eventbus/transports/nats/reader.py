"""Reading messages of a stream without a lasting trace: a page at a time."""

from __future__ import annotations

import base64
from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

from . import frames
from .errors import NO_STREAM, Refused
from .link import STATUS, Link

#: Messages read at once.
PAGE = 250
#: Nanoseconds after which the server forgets a reader that could not say goodbye.
FORGOTTEN = 30_000_000_000


class Stored(NamedTuple):
    """A message as it is in a stream."""

    subject: str
    sequence: int
    data: bytes


async def read(link: Link, stream: str, subject: str, after: int = 0) -> list[Stored]:
    """All messages of a subject filter; none where the stream does not exist."""
    found: list[Stored] = []
    while page := await read_page(link, stream, subject, after, PAGE):
        found += page
        after = page[-1].sequence
        if len(page) < PAGE:
            break
    return found


async def read_page(
    link: Link, stream: str, subject: str, after: int, count: int
) -> list[Stored]:
    """The next messages beyond a place in the stream, at most `count`."""
    config = {
        "deliver_policy": "by_start_sequence", "opt_start_seq": after + 1, "ack_policy": "none",
        "filter_subject": subject, "mem_storage": True, "inactive_threshold": FORGOTTEN,
        "max_deliver": -1, "replay_policy": "instant", "num_replicas": 1,
    }
    try:
        made = await link.api(
            f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config}
        )
    except Refused as error:
        if error.code == NO_STREAM:
            return []
        raise
    try:
        expected = min(count, made["num_pending"])
        return await _pull(link, stream, made["name"], expected) if expected else []
    finally:
        link.api_later(f"CONSUMER.DELETE.{stream}.{made['name']}")


async def _pull(link: Link, stream: str, consumer: str, count: int) -> list[Stored]:
    found: list[Stored] = []
    done = link.loop.create_future()

    def take(message: Msg) -> None:
        if message.headers and STATUS in message.headers:
            # Removed meanwhile: there are fewer.
            if not done.done():
                done.set_result(None)
            return
        place = frames.position(message.reply)
        found.append(Stored(message.subject, place.sequence, message.data))
        if len(found) >= count and not done.done():
            done.set_result(None)

    inbox = link.new_inbox()
    subscription = await link.subscribe(inbox, take)
    try:
        body = msgspec.json.encode({"batch": count, "no_wait": True})
        link.send(f"{link.next_subject}.{stream}.{consumer}", body, inbox)
        await done
    finally:
        if link.usable:
            await subscription.unsubscribe()
    return found


async def last(link: Link, stream: str, subject: str) -> Stored | None:
    """The latest message of a subject."""
    try:
        answer = await link.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
    except Refused:
        return None
    message = answer["message"]
    data = base64.b64decode(message.get("data", ""))
    return Stored(message["subject"], message["seq"], data)

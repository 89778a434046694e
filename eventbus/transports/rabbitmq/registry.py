"""What subscriptions and topics there are: one message on the server, replaced as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from time import monotonic
from uuid import uuid4

import msgspec

from ...patterns import matcher
from ..base import SubscriptionId
from . import ledger, names
from .frames import Outgoing, count_of, properties, read_properties
from .lanes import Lane
from .sender import Sender

#: Seconds for which the last reading answers whether anybody wants a topic.
FRESH = 5.0
#: Topics that are remembered: they are for people to look at, and written as a whole.
MOST_TOPICS = 10_000
#: Readings after which the message is written anew: a queue's log cannot forget what is older
#: than its oldest message.
WORN = 64


class Entry(msgspec.Struct):
    group: str
    pattern: str
    created_at: float
    #: Kept, so that the group is known whose dead letters remain.
    dropped: bool = False


class Book(msgspec.Struct):
    """All that is known; the one with the highest version counts."""

    version: int = 0
    entries: list[Entry] = []
    topics: list[str] = []

    def find(self, id: SubscriptionId) -> Entry | None:
        return next((e for e in self.entries if (e.group, e.pattern) == id), None)

    def living(self) -> dict[SubscriptionId, Entry]:
        return {SubscriptionId(e.group, e.pattern): e for e in self.entries if not e.dropped}


_pack = msgspec.json.Encoder().encode
_unpack = msgspec.json.Decoder(Book).decode


class Registry:
    """Reads and changes the book.

    Args:
        lane: gives the connection to use.
    """

    def __init__(self, lane: Lane[Sender]) -> None:
        self._lane = lane
        self._book = Book()
        self._topics: set[str] = set()
        self._read_at = float("-inf")

    def read(self) -> Book:
        return self._turn(lambda book: False)

    def add(self, ids: Iterable[SubscriptionId], then: Callable[[Book], None]) -> None:
        """Register subscriptions, and call `then` before anybody else has a turn."""

        def change(book: Book) -> bool:
            return any([_add(book, id) for id in ids])

        self._turn(change, then=then)

    def remove(self, id: SubscriptionId) -> bool:
        """Unregister a subscription; `False` if there was none."""
        results: list[bool] = []

        def change(book: Book) -> bool:
            results.append(_remove(book, id))
            return results[-1]

        self._turn(change)
        return results[-1]

    def add_topics(self, topics: Iterable[str], timeout: float) -> None:
        self._turn(lambda book: _add_topics(book, topics), timeout)

    def knows(self, topic: str) -> bool:
        """Whether a topic was there at the last reading."""
        return topic in self._topics

    def wanting(self, topics: Collection[str]) -> list[SubscriptionId]:
        """The subscriptions that should have had one of these topics."""
        if monotonic() - self._read_at > FRESH:
            self.read()
        if not _wanting(self._book, topics):
            return []
        # A subscription that was dropped since must not be brought back.
        return _wanting(self.read(), topics)

    def _turn(
        self, change: Callable[[Book], bool], timeout: float = ledger.PATIENCE,
        then: Callable[[Book], None] = lambda book: None,
    ) -> Book:
        with self._lane(timeout) as sender:
            queue = names.REGISTRY
            with ledger.reading(sender, queue, names.LOCKING, timeout=timeout) as reader:
                found = list(reader.messages())
                books = [book for _, message in found if (book := _read(message.body))]
                book = max(books, key=lambda book: book.version, default=Book())
                worn = any(count_of(read_properties(m.properties)[1]) > WORN for _, m in found)
                if change(book) or worn or len(found) > 1:
                    book.version += 1
                    ledger.publish(sender, [_message(book)])
                    for _, message in found:
                        reader.ack(message)
                then(book)
            self._book, self._topics, self._read_at = book, set(book.topics), monotonic()
        return book


def _message(book: Book) -> Outgoing:
    id = uuid4().hex
    return Outgoing("", names.REGISTRY, id, properties(id), _pack(book))


def _read(body: bytes) -> Book | None:
    try:
        return _unpack(body)
    except msgspec.MsgspecError:
        return None


def _wanting(book: Book, topics: Collection[str]) -> list[SubscriptionId]:
    return [id for id in book.living() if any(map(matcher(id.pattern), topics))]


def _add(book: Book, id: SubscriptionId) -> bool:
    entry = book.find(id)
    if entry is not None and not entry.dropped:
        return False
    if entry is None:
        entry = Entry(id.group, id.pattern, 0.0)
        book.entries.append(entry)
    entry.created_at, entry.dropped = time.time(), False
    return True


def _remove(book: Book, id: SubscriptionId) -> bool:
    entry = book.find(id)
    if entry is None or entry.dropped:
        return False
    entry.dropped = True
    return True


def _add_topics(book: Book, topics: Iterable[str]) -> bool:
    known = set(book.topics)
    fresh = [topic for topic in topics if topic not in known]
    book.topics += fresh[: max(0, MOST_TOPICS - len(known))]
    return bool(fresh) and len(known) < MOST_TOPICS

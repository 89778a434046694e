"""Being a member of a group: which topics it follows, and which partitions are its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ...errors import TransportError, TransportUnavailable
from ..base import Delivery, SubscriptionId
from . import names
from .catalogue import Catalogue
from .commits import Commits
from .errors import translate
from .options import ANSWER_TIMEOUT, Options
from .positions import share as taken_up
from .progress import Progress
from .registry import Registry
from .share import Share
from .trouble import Trouble

logger = logging.getLogger("eventbus.consumer")

#: Seconds that running handlers get when their partition is taken away.
PATIENCE = 5.0
#: Seconds between two changes of the topics that are followed.
SETTLED = 0.2
#: Seconds for hearing how the broker has named the client: it is there, but may not join.
NAMELESS = 5.0


class Membership:
    """Used by the consumer thread alone, from which its client calls back, too.

    Args:
        owner: name of this process in what is committed.
    """

    def __init__(
        self, options: Options, registry: Registry, catalogue: Catalogue, owner: str,
        trouble: Trouble,
    ) -> None:
        self._options = options
        self._registry = registry
        self._catalogue = catalogue
        self._owner = owner
        self._trouble = trouble
        self._id = SubscriptionId("", "")
        self._commits: Commits | None = None
        self._wanted: tuple[str, ...] = ()
        self._topics: list[str] = []
        self._seen = -1
        self._follow_at = self._followed_at = 0.0
        self.shares: dict[tuple[str, int], Share] = {}
        #: What was done in shares that were lost.
        self._left: dict[tuple[str, int], Progress] = {}
        self._paused = False
        self._closing = False
        #: Why it cannot go on.
        self._failure: Exception | None = None
        #: Hands over what the engine holds of partitions that are taken away.
        self.surrender: Callable[[Callable[[Delivery], bool], float], None] = _keep

    def begin(self, id: SubscriptionId, commits: Commits) -> None:
        """Before the first topic is followed."""
        self._id = id
        self._commits = commits

    def look_again(self) -> None:
        """Compare what is followed with what there is."""
        self._seen = -1

    def check(self) -> None:
        """Raise why it cannot go on, if it cannot."""
        if self._failure is not None:
            raise self._failure

    def leave(self, client: Consumer) -> None:
        """Follow nothing; what is assigned is taken away."""
        self._topics, self._seen = [], self._catalogue.version
        client.unsubscribe()

    def close(self) -> None:
        """From now on whatever is assigned is left alone."""
        self._closing = True
        # It holds all that it went through, and that in turn clients and this.
        self._failure = None

    def end(self) -> None:
        """After the last commit."""
        self._commits = None

    @property
    def empty_handed(self) -> bool:
        """It follows topics, and has no partition of them."""
        return bool(self._topics) and not self.shares

    def pause(self, client: Consumer) -> None:
        """Read nothing, of what is assigned later neither."""
        if not self._paused:
            self._paused = True
            client.pause(client.assignment())

    def resume(self, client: Consumer) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            client.resume(client.assignment())

    def follow(self, client: Consumer, handlers: tuple[str, ...]) -> None:
        """Subscribe to what there is now for the subscription and the handlers here."""
        catalogue = self._catalogue
        if self._registry.read and self._registry.find(self._id) is None:
            raise self._trouble.unavailable("the subscription has vanished")
        if self._seen == catalogue.version and self._wanted == handlers:
            return
        if monotonic() < self._follow_at:
            return
        # Each change is a rebalance: those that come together are one.
        self._follow_at = monotonic() + SETTLED
        self._seen, self._wanted = catalogue.version, handlers
        there = catalogue.topics
        inboxes = [names.inbox(self._id, handler) for handler in (None, *handlers)]
        topics = sorted(catalogue.matching(self._id)) + [n for n in inboxes if n in there]
        self._notice_other_topics()
        if topics == self._topics:
            return
        if self._is_nameless(client):
            self._seen = -1
            return
        self._topics, self._followed_at = topics, monotonic()
        if topics:
            client.subscribe(
                topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        else:
            client.unsubscribe()

    def _is_nameless(self, client: Consumer) -> bool:
        """Whether it has asked to join, and does not know yet as whom.

        It would not listen to the answer after another subscription, and ask again; the group would
        wait a session for whom the broker has named first (librdkafka 2.16).
        """
        joins = self._topics and self._options.classic
        late = monotonic() - self._followed_at >= NAMELESS
        return bool(joins) and not late and not client.memberid()

    def _notice_other_topics(self) -> None:
        """A topic that was deleted and made again is read from its start."""
        for share in self.shares.values():
            about = self._catalogue.topics.get(share.topic)
            if about is not None and about.id != share.note.topic:
                self._failure = TransportUnavailable(
                    f"{self._options.name}: topic {share.topic!r} was deleted and made again"
                )

    def _assigned(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client in the middle of a read, or of its close; must not raise."""
        if self._closing or not partitions:
            # A client that closes answers no question before its timeout.
            return
        try:
            self._take_up(client, partitions)
        except Exception as error:
            known = isinstance(error, TransportError)
            self._failure = error if known else TransportUnavailable(str(error))

    def _take_up(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        birth = self._registry.find(self._id)
        if birth is None:
            raise TransportUnavailable(f"{self._options.name}: the subscription has vanished")
        try:
            found = client.committed(partitions, timeout=ANSWER_TIMEOUT)
        except KafkaException as error:
            raise translate(error, self._options.name) from None
        topics = self._catalogue.topics
        missing = {p.topic for p in partitions} - topics.keys()
        if missing:
            topics = self._catalogue.look()
        # A killed member may have written there what it could not commit.
        self._registry.sync()
        kept = self._registry.progress
        group = names.group_of(self._id)
        taken = []
        for place in found:
            if place.error is not None:
                raise translate(place.error, self._options.name)
            progress = kept.get(names.progress(group, place.topic, place.partition))
            beside = (progress, self._left.get((place.topic, place.partition)))
            share = taken_up(place, birth, topics.get(place.topic), self._owner, beside)
            share.inbox = place.topic.startswith(names.INBOX)
            self.shares[place.topic, place.partition] = share
            taken.append(share)
        begin = [TopicPartition(s.topic, s.partition, s.next) for s in taken]
        if self._cooperative:
            client.incremental_assign(begin)
        else:
            client.assign(begin)
        if self._paused:
            client.pause(begin)
        self._trouble.works()
        assert self._commits is not None
        self._commits.take_up(taken)

    @property
    def _cooperative(self) -> bool:
        config = self._options.config
        return config.protocol == "consumer" or config.assignor == "cooperative-sticky"

    def _revoked(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client; must not raise."""
        try:
            shares = self._held(partitions)
            if not self._closing:
                self._surrender(shares, PATIENCE)
                self._give_up(shares)
        except Exception as error:
            self._failure = error
        finally:
            self._forget(partitions)

    def _surrender(self, shares: list[Share], seconds: float) -> None:
        """Let what runs finish, so that the next owner need not do it again."""
        if any(share.pending for share in shares):
            mine = set(map(id, shares))
            self.surrender(lambda d: d.receipt is not None and id(d.receipt[0]) in mine, seconds)

    def _give_up(self, shares: list[Share]) -> None:
        if self._commits is not None and shares:
            self._commits.give_up(shares)

    def _lost(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """Called by the client: a commit would be refused, and a peer may have them already."""
        self._trouble.silent()
        try:
            if not self._closing:
                self._leave(self._held(partitions))
        except Exception as error:
            logger.debug("what was lost could not be looked through: %s", error)
        finally:
            self._forget(partitions)

    def _leave(self, shares: list[Share]) -> None:
        """Begin nothing more, and remember what is done: often they come back to this member.

        All of the group join again before anybody gets them, and read then what is written here.
        """
        self._surrender(shares, 0.0)
        for share in shares:
            self._left[share.topic, share.partition] = Progress(*share.position(False))
        if self._commits is not None:
            self._commits.lost(shares)

    def _held(self, partitions: list[TopicPartition]) -> list[Share]:
        places = [(place.topic, place.partition) for place in partitions]
        return [self.shares[place] for place in places if place in self.shares]

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            share = self.shares.pop((place.topic, place.partition), None)
            if share is not None:
                share.alive = False
                share.returned.clear()


def _keep(concerned: Callable[[Delivery], bool], seconds: float) -> None:
    """Nobody has to be asked."""

"""Kafka without a broker: what is settled is remembered also where a commit is refused."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from eventbus.errors import TransportUnavailable
from eventbus.transports.kafka import commits, names
from eventbus.transports.kafka.commits import Commits
from eventbus.transports.kafka.notes import Note, Skips, pack, unpack
from eventbus.transports.kafka.positions import share as taken_up
from eventbus.transports.kafka.progress import Progress
from eventbus.transports.kafka.registry import Birth
from eventbus.transports.kafka.share import Share
from eventbus.transports.kafka.topics import Topic
from eventbus.transports.kafka.trouble import Trouble

BIRTH = Birth("birth", created_at=None)  # type: ignore[arg-type]
ABOUT = Topic("topic-id", 1)
REFUSED = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)


class Client:
    """Answers each commit as it is told to, when it is polled."""

    def __init__(self, error: KafkaError | None) -> None:
        self.error = error
        self.commits: Any = None
        self.committed: list[int] = []
        self.waited = 0

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.waited += not asynchronous
        self.committed += [place.offset for place in offsets]
        if not asynchronous and self.error is not None:
            raise KafkaException(self.error)

    def poll(self, timeout: float = 0) -> None:
        self.commits.ended(self.error, [TopicPartition("job", 0)])


class Setup:
    def __init__(self, error: KafkaError | None) -> None:
        note = Note(BIRTH.key, ABOUT.id, "me")
        self.share = Share("job", 0, 0, note, Skips(0, []))
        for offset in range(5):
            assert self.share.takes(offset)
        for offset in (0, 1, 3):
            self.share.settled(offset)
        self.written: dict[str, Progress] = {}
        self.broken = False
        self.client = Client(error)
        shares = {("job", 0): self.share}
        self.trouble = Trouble("kafka")
        self.commits = self.client.commits = Commits(
            self.client, self.trouble, shares, "g",  # type: ignore[arg-type]
            self._write,
        )

    def _write(self, records: dict[str, Progress], seconds: float) -> None:
        if self.broken:
            raise TransportUnavailable("nobody answers")
        self.written.update(records)

    def is_written(self, clean: bool) -> bool:
        found = self.written.get(names.progress("g", "job", 0))
        note = unpack(found.note) if found is not None else None
        if found is None or note is None:
            return False
        assert (found.offset, note.done) == (2, [1, 1])
        return note.clean is clean


def test_what_is_given_back_while_commits_are_refused_is_written_down() -> None:
    setup = Setup(REFUSED)
    setup.commits.give_up([setup.share])
    assert setup.is_written(clean=True)


def test_what_is_committed_is_not_written_down_as_well() -> None:
    setup = Setup(None)
    setup.commits.give_up([setup.share])
    assert (setup.client.committed, setup.written) == ([2], {})


def test_after_a_refusal_it_is_written_down_until_a_commit_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(commits, "monotonic", lambda: now)
    setup = Setup(REFUSED)
    setup.commits.begin()
    assert not setup.written
    setup.client.poll()
    now += 1.0
    setup.commits.begin()
    assert setup.is_written(clean=False)
    assert setup.client.committed == [2, 2]

    setup.client.error = None
    setup.client.poll()
    setup.written.clear()
    setup.share.settled(2)
    now += 1.0
    setup.commits.begin()
    assert not setup.written
    assert setup.client.committed == [2, 2, 4]


def test_a_mark_waits_for_no_commit_and_takes_with_it_all_that_is_done() -> None:
    """The consumer thread waits for it, and may have to be told that its process dies."""
    setup = Setup(None)
    setup.share.note.started = 2
    setup.commits.mark()
    assert setup.is_written(clean=False)
    note = unpack(setup.written[names.progress("g", "job", 0)].note)
    assert note is not None and note.started == 2
    assert setup.client.waited == 0


def test_a_mark_that_cannot_be_written_is_an_error() -> None:
    setup = Setup(None)
    setup.broken = True
    for _ in range(2):
        with pytest.raises(TransportUnavailable):
            setup.commits.mark()
    setup.broken = False
    setup.commits.mark()
    assert setup.is_written(clean=False)


def test_a_partition_is_taken_up_without_waiting_for_a_commit() -> None:
    setup = Setup(None)
    setup.commits.take_up([setup.share])
    assert setup.is_written(clean=False)
    assert setup.client.waited == 0
    assert setup.share.dirty


def test_whose_hands_a_partition_is_in_may_be_known_beside_the_commits_only() -> None:
    committed = _place(Note(BIRTH.key, ABOUT.id, "first", clean=True, term=1), 3)
    second = Progress(3, pack(Note(BIRTH.key, ABOUT.id, "second", started=3, term=2)))
    share = taken_up(committed, BIRTH, ABOUT, "me", [second])
    assert (share.note.deaths, share.note.started, share.note.term) == (1, 3, 3)

    nothing = TopicPartition("job", 0, OFFSET_INVALID)
    share = taken_up(nothing, BIRTH, ABOUT, "me", [second])
    assert (share.next, share.note.deaths, share.note.started) == (3, 1, 3)


def test_what_former_owners_have_written_tells_nothing_of_the_last_one() -> None:
    first = Progress(3, pack(Note(BIRTH.key, ABOUT.id, "first", clean=True, started=3, term=1)))
    committed = _place(Note(BIRTH.key, ABOUT.id, "second", deaths=1, counted=3, term=2), 3)
    share = taken_up(committed, BIRTH, ABOUT, "me", [first])
    assert (share.note.deaths, share.note.started) == (2, None)


def test_an_offset_set_by_hand_is_taken_as_it_is() -> None:
    reset = TopicPartition("job", 0, 1, "")
    beside = Progress(5, pack(Note(BIRTH.key, ABOUT.id, "other", done=[1, 1], term=7)))
    share = taken_up(reset, BIRTH, ABOUT, "me", [beside])
    assert (share.next, share.note.deaths, share.note.term) == (1, 0, 8)


@pytest.mark.parametrize("error", [REFUSED, None])
def test_the_last_commit_is_committed_or_written_down(error: KafkaError | None) -> None:
    setup = Setup(error)
    assert setup.commits.last(1.0)
    assert setup.is_written(clean=True) is (error is not None)


def _place(note: Note, offset: int) -> TopicPartition:
    return TopicPartition("job", 0, offset, pack(note))


def test_what_is_done_in_a_share_that_is_lost_is_written_down() -> None:
    setup = Setup(None)
    setup.commits.lost([setup.share])
    assert setup.is_written(clean=True)
    assert setup.client.committed == []


def test_what_is_done_when_no_broker_seems_to_answer_is_written_down() -> None:
    """They may be back: whoever closes then hears of it last."""
    setup = Setup(None)
    setup.trouble.silent()
    assert not setup.commits.last(1.0)
    assert setup.is_written(clean=True)
    assert setup.client.committed == []


def test_whoever_gave_back_beside_a_commit_has_not_vanished() -> None:
    committed = _place(Note(BIRTH.key, ABOUT.id, "other"), 3)
    beside = Progress(3, pack(Note(BIRTH.key, ABOUT.id, "other", clean=True)))
    assert taken_up(committed, BIRTH, ABOUT, "me").note.deaths == 1
    assert taken_up(committed, BIRTH, ABOUT, "me", [beside]).note.deaths == 0
    earlier = Progress(2, beside.note)
    assert taken_up(committed, BIRTH, ABOUT, "me", [earlier]).note.deaths == 1


def test_all_that_is_known_of_a_partition_counts() -> None:
    committed = _place(Note(BIRTH.key, ABOUT.id, "me"), 3)
    beside = Progress(5, pack(Note(BIRTH.key, ABOUT.id, "other")))
    mine = Progress(4, pack(Note(BIRTH.key, ABOUT.id, "me", done=[2, 3])))
    share = taken_up(committed, BIRTH, ABOUT, "me", [None, beside, mine])
    taken = [offset for offset in range(share.next, 11) if share.takes(offset)]
    assert taken == [5, 9, 10]

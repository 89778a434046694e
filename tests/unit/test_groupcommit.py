"""Whoever publishes at the same time shares a round trip, and nobody is left waiting."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pytest

from eventbus import AuthenticationError, TopologyError, TransportError, TransportUnavailable
from eventbus._engine import groupcommit
from eventbus._engine.groupcommit import GroupCommit
from eventbus.transports.base import PartlyStored

THREADS, SENDS = 12, 150


def test_everybody_comes_through_whatever_becomes_of_the_others():
    chance, stored = random.Random(7), Counter()
    outcomes = Counter()

    def send(records, deadline, wait):
        sleep(chance.random() * 0.001)
        if chance.random() < 0.1:
            raise TransportUnavailable("away")
        stored.update(records)

    group = GroupCommit(send)

    def publish(number):
        own = random.Random(number)
        for n in range(SENDS):
            # Some give up while others are at it.
            deadline = monotonic() + (20.0 if own.random() < 0.8 else 0.001)
            try:
                group.send([(number, n)], deadline, True)
                outcomes[number, n] = 1
            except TransportUnavailable as error:
                outcomes[number, n] = 1 if error.outcome == "unknown" else -1

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(outcomes) == THREADS * SENDS
    assert {record for record, outcome in outcomes.items() if outcome < 0}.isdisjoint(stored)
    assert set(stored.values()) == {1}
    assert not group.queue


def test_who_gives_up_lets_the_next_one_lead():
    gate, calls = threading.Event(), []

    def send(records, deadline, wait):
        calls.append(list(records))
        assert gate.wait(10)

    group = GroupCommit(send)
    later = monotonic() + 20.0
    threads = [threading.Thread(target=group.send, args=(["first"], later, True))]
    threads[0].start()
    while not calls:
        sleep(0.001)
    with pytest.raises(TransportUnavailable) as caught:
        group.send(["impatient"], monotonic() + 0.02, True)
    threads.append(threading.Thread(target=group.send, args=(["third"], later, True)))
    threads[1].start()
    while not group.queue:
        sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()

    assert caught.value.outcome == "failed"
    assert calls == [["first"], ["third"]]


def _sent_together(*calls, store):
    """What becomes of each call, where all share a round trip; `store` gets their records."""
    gate, begun = threading.Event(), threading.Event()
    ended = []

    def send(records, deadline, wait):
        if begun.is_set():
            store(list(records))
        begun.set()
        assert gate.wait(10)

    group = GroupCommit(send)

    def publish(records):
        try:
            group.send(records, monotonic() + 20, True)
        except TransportError as caught:
            ended.append((records, getattr(caught, "stored", 0), caught.outcome))
        else:
            ended.append((records, len(records), "ok"))

    with ThreadPoolExecutor(1 + len(calls)) as pool:
        pool.submit(group.send, ["first"], monotonic() + 20, True)
        assert begun.wait(10)
        for number, records in enumerate(calls, 1):
            pool.submit(publish, records)
            while len(group.queue) < number:
                sleep(0.001)
        gate.set()
    return sorted(ended)


@pytest.mark.parametrize("outcome", ["failed", "unknown"])
@pytest.mark.parametrize(
    ("stored", "parts"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (4, (1, 3, 0)), (5, (1, 3, 1))]
)
def test_of_what_was_stored_each_is_told_its_own_part(stored, parts, outcome):
    calls = ["a"], ["b", "c", "d"], ["e", "f"]

    def store(records):
        assert records == ["a", "b", "c", "d", "e", "f"]
        raise PartlyStored("away", stored=stored, outcome=outcome)

    assert _sent_together(*calls, store=store) == [
        (call, part, "ok" if part == len(call) else outcome)
        for call, part in zip(calls, parts, strict=True)
    ]


@pytest.mark.parametrize(
    ("error", "others", "attempts"),
    [
        (TopologyError("not this one"), "ok", 4),
        # What is so for all, and what may have been stored, is not tried again.
        (TopologyError("no answer", outcome="unknown"), "unknown", 1),
        (TransportUnavailable("away"), "failed", 1),
        (AuthenticationError("wrong password"), "failed", 1),
    ],
)
def test_what_one_of_them_may_not_send_is_told_to_that_one_only(error, others, attempts):
    sent = []

    def store(records):
        sent.append(records)
        if "bad" in records:
            raise error

    ended = _sent_together(["a"], ["bad"], ["c", "d"], store=store)

    assert [(call, outcome) for call, _, outcome in ended] == [
        (["a"], others), (["bad"], error.outcome), (["c", "d"], others)
    ]
    assert len(sent) == attempts


class _Complete:
    """Instead of the lock that tells whoever leads that all are there."""

    def __init__(self, group, coming):
        self._group, self._coming = group, iter(coming)
        self.waits = 0

    def acquire(self, blocking=True, timeout=-1):
        if blocking:
            self.waits += 1
            for _ in range(next(self._coming)):
                self._group.queue.append(groupcommit._Ticket(["other"]))
        return False


@pytest.mark.parametrize(
    ("latest", "coming", "taken", "waits"),
    [
        (0, [], 1, 0),  # Nobody was there the last time, so nobody is waited for.
        (3, [1, 1], 3, 2),
        (3, [2], 3, 1),
        (3, [0, 1], 1, 1),
        (4, [1, 1, 0, 1], 3, 3),
    ],
)
def test_whoever_leads_waits_while_others_come(latest, coming, taken, waits):
    sent = []
    group = GroupCommit(lambda records, deadline, wait: sent.extend(records))
    group._latest = latest
    group._complete = complete = _Complete(group, coming)
    group.send(["mine"], monotonic() + 10, True)

    assert sent == ["mine"] + ["other"] * (taken - 1)
    assert complete.waits == waits


def test_whoever_leads_is_told_when_all_are_there(monkeypatch):
    monkeypatch.setattr(groupcommit, "PATIENCE", 20.0)
    sent, begun = [], monotonic()
    group = GroupCommit(lambda records, deadline, wait: sent.append(sorted(records)))
    group._latest = 3
    with ThreadPoolExecutor(3) as pool:
        for name in "abc":
            pool.submit(group.send, [name], monotonic() + 30, True)

    assert sent == [["a", "b", "c"]]
    assert monotonic() - begun < 10


def _shared(*owners):
    """Tickets of one round trip that is over; which of their owners were let go."""
    tickets = [owner() for owner in owners]
    groupcommit._finish(tickets, [None] * len(tickets))

    def free():
        return [not ticket.turn.locked() for ticket in tickets]

    return tickets, free


def _of_a_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(groupcommit._Ticket, ["record"]).result()


def _of_main():
    return groupcommit._Ticket(["record"])


def _of_one_that_gave_up():
    ticket = _of_a_thread()
    ticket.leave()
    return ticket


def test_each_lets_the_next_one_go():
    tickets, free = _shared(_of_a_thread, _of_a_thread, _of_a_thread)

    tickets[0].let_go()
    assert free() == [True, False, False]
    tickets[0].leave()
    assert free() == [True, True, False]
    tickets[1].leave()
    assert free() == [True, True, True]


@pytest.mark.parametrize("absent", [_of_main, _of_one_that_gave_up])
def test_nobody_waits_for_one_that_may_not_let_go(absent):
    tickets, free = _shared(absent, absent, _of_a_thread, absent, _of_a_thread, _of_a_thread)

    tickets[0].let_go()
    assert free() == [True, True, True, False, False, False]
    tickets[2].leave()
    assert free() == [True, True, True, True, True, False]

"""Whoever publishes at the same time shares a round trip, and nobody is left waiting."""

from __future__ import annotations

import random
import threading
from collections import Counter
from time import monotonic, sleep

import pytest

from eventbus import TransportUnavailable
from eventbus._engine import groupcommit
from eventbus._engine.groupcommit import GroupCommit

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


@pytest.mark.parametrize(
    ("latest", "coming", "taken", "ways"),
    [
        (0, [], 1, 0),  # Nobody was there the last time, so nobody is waited for.
        (3, [1, 0, 1], 3, 3),
        (3, [0, 0, 0, 1], 1, 3),
        (4, [1, 0, 0, 1, 0, 0, 0], 3, 7),
    ],
)
def test_whoever_leads_gives_way_while_others_come(monkeypatch, latest, coming, taken, ways):
    sent, given = [], []
    group = GroupCommit(lambda records, deadline, wait: sent.extend(records))
    group._latest = latest

    def give_way(seconds):
        given.append(seconds)
        for _ in range(coming[len(given) - 1]):
            group.queue.append(groupcommit._Ticket(["other"]))

    monkeypatch.setattr(groupcommit, "sleep", give_way)
    group.send(["mine"], monotonic() + 10, True)

    assert sent == ["mine"] + ["other"] * (taken - 1)
    assert given == [0] * ways

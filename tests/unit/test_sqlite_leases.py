"""Leases in the file: who holds what, for how long, and when it goes to a peer."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from eventbus import SQLiteConfig, TransportUnavailable
from eventbus.transports.base import Budget, Parked, Settings, Settlement, SubscriptionId
from eventbus.transports.sqlite import claims, consumer
from eventbus.transports.sqlite.transport import SQLiteTransport
from tests.unit.engine_fakes import Clock, record

ID = SubscriptionId("g", "a.b")
LEASE = 10.0


@pytest.fixture
def clock(monkeypatch):
    """The clock of leases, which all processes of a host share."""
    clock = Clock()
    monkeypatch.setattr(claims, "lease_clock", clock)
    monkeypatch.setattr(consumer, "lease_clock", clock)
    # Each fetch looks for what others left behind.
    monkeypatch.setattr(consumer, "RECHECK", 0.0)
    return clock


class Peer:
    """A member with an owner, a publisher and a consumer of its own on the file."""

    def __init__(self, path):
        config = SQLiteConfig(path=path)
        self.transport = SQLiteTransport(
            config, Settings(prefix="", lease=LEASE, retention=1e6, publish_timeout=5.0)
        )
        self.transport.declare(ID, "latest")
        self.consumer = self.transport.consumer(())
        self.consumer.attach(ID)

    def publish(self, *payloads):
        self.transport.publish([record(p) for p in payloads], timeout=5.0, wait=True)

    def fetch(self, events=100, size=1_000_000, timeout=0.0):
        fetched = self.consumer.fetch({ID: Budget(events, size, ("h",))}, timeout)
        return [delivery for _, deliveries in fetched for delivery in deliveries]

    def park(self, *numbers):
        """Events for the handler alone."""
        due = claims.datetime.now(claims.timezone.utc)
        self.transport.deliver(
            [Parked(subscription=ID, handler="h", topic="a.b", data=b"%d" % n, key=None,
                    attempt=2, due=due) for n in numbers]
        )

    @property
    def backlog(self):
        return self.transport.backlog(ID)

    def close(self):
        self.consumer.close()
        self.transport.close()


@pytest.fixture
def peers(tmp_path, clock, leak_free):
    made = [Peer(str(tmp_path / "events.db")) for _ in range(2)]
    yield made
    for peer in made:
        peer.close()


def data(deliveries):
    return [delivery.data for delivery in deliveries]


@pytest.fixture(params=["log", "inbox"])
def claimed(request, peers):
    """Three events, all held by the first of two members."""
    one, _ = peers
    if request.param == "log":
        one.publish(1, 2, 3)
    else:
        one.park(1, 2, 3)
    deliveries = one.fetch()
    assert len(deliveries) == 3
    return deliveries


def test_what_one_member_holds_no_other_gets(peers, claimed):
    assert peers[1].fetch() == []


def test_a_renewed_lease_never_ends(peers, claimed, clock):
    one, other = peers
    for _ in range(5):
        clock.sleep(LEASE * 0.9)
        assert one.consumer.keepalive(claimed) == []
        assert other.fetch() == []


def test_a_lease_that_ended_goes_to_a_peer_and_counts_as_a_death(peers, claimed, clock):
    one, other = peers
    clock.sleep(LEASE + 0.1)
    taken = other.fetch()

    assert sorted(data(taken)) == sorted(data(claimed))
    assert {delivery.deaths for delivery in taken} == {1}
    assert one.consumer.keepalive(claimed) == claimed


def test_the_late_outcome_of_a_lost_lease_changes_nothing(peers, claimed, clock):
    one, other = peers
    clock.sleep(LEASE + 0.1)
    taken = other.fetch()

    first, *rest = claimed
    lost = one.consumer.settle(Settlement(acks=[first], releases=rest))
    assert list(lost) == claimed
    assert one.fetch() == []
    assert other.consumer.settle(Settlement(acks=taken)) == []
    assert (other.backlog, other.fetch()) == (0, [])


def test_what_is_not_renewed_goes_to_a_peer_and_the_others_stay(peers, claimed, clock):
    one, other = peers
    *kept, let_go = claimed
    assert one.consumer.keepalive(kept) == []
    clock.sleep(LEASE * 0.6)
    assert one.consumer.keepalive(kept) == []
    clock.sleep(LEASE * 0.6)

    assert data(other.fetch()) == [let_go.data]
    assert list(one.consumer.settle(Settlement(acks=claimed))) == [let_go]


def test_a_member_whose_process_is_gone_is_succeeded_at_once(peers, claimed, monkeypatch):
    one, other = peers
    monkeypatch.setattr(consumer, "dead_owners", lambda connection, me: [one.transport._owner.id])
    taken = other.fetch()
    assert sorted(data(taken)) == sorted(data(claimed))
    assert {delivery.deaths for delivery in taken} == {1}


def test_what_is_given_back_goes_to_a_peer_at_once_and_is_no_death(peers, claimed):
    one, other = peers
    assert one.consumer.settle(Settlement(releases=claimed)) == []
    taken = other.fetch()
    assert sorted(data(taken)) == sorted(data(claimed))
    assert {delivery.deaths for delivery in taken} == {0}


def test_own_events_that_were_given_back_can_be_fetched_again(peers, claimed):
    one, _ = peers
    one.consumer.settle(Settlement(releases=claimed))
    assert sorted(data(one.fetch())) == sorted(data(claimed))


def test_settling_twice_is_told_as_lost(peers, claimed):
    one, _ = peers
    assert one.consumer.settle(Settlement(acks=claimed)) == []
    assert list(one.consumer.settle(Settlement(acks=claimed))) == claimed


def test_a_receipt_of_nobody_is_lost(peers, claimed):
    one, _ = peers
    claimed[0].receipt = None
    assert list(one.consumer.keepalive(claimed)) == claimed[:1]
    assert list(one.consumer.settle(Settlement(acks=claimed))) == claimed[:1]


# -- how much is fetched ---------------------------------------------------------------------------


def test_no_more_is_fetched_than_the_budget_allows_and_nothing_twice(peers):
    one, other = peers
    one.publish(*range(300))
    sizes = [(peer, n) for n in (1, 70, 64, 65, 100, 100) for peer in (one, other)]
    fetched = [peer.fetch(n) for peer, n in sizes]

    assert all(len(some) <= n for some, (_, n) in zip(fetched, sizes, strict=True))
    payloads = [delivery.receipt.seq for some in fetched for delivery in some]
    assert sorted(payloads) == list(range(1, 301))


def test_at_least_one_event_is_fetched_however_large(peers):
    one, _ = peers
    one.publish("x" * 5000, "y" * 5000, "z")
    assert [len(one.fetch(size=100)) for _ in range(3)] == [1, 1, 1]
    assert one.fetch() == []


def test_a_takeover_keeps_to_the_budget_too(peers, clock):
    one, other = peers
    one.publish(*range(10))
    held = one.fetch()
    clock.sleep(LEASE + 0.1)
    taken = [other.fetch(events=4) for _ in range(3)]
    assert [len(some) for some in taken] == [4, 4, 2]
    assert data(itertools.chain(*taken)) == data(held)


def test_a_detached_subscription_is_not_fetched(peers):
    one, other = peers
    one.consumer.detach(ID)
    other.publish(1)
    assert one.fetch() == []
    assert len(other.fetch()) == 1


def test_a_subscription_that_vanished_ends_the_session(peers):
    one, other = peers
    other.transport.drop(ID)
    with pytest.raises(TransportUnavailable, match="has vanished"):
        one.fetch()


# -- waiting ---------------------------------------------------------------------------------------


def test_a_fetch_waits_for_what_another_process_publishes(peers):
    one, other = peers
    timer = threading.Timer(0.1, other.publish, (1,))
    timer.start()
    begun = time.monotonic()
    assert len(one.fetch(timeout=20.0)) == 1
    assert time.monotonic() - begun < 10
    timer.join()


def test_a_fetch_ends_when_it_is_woken_and_a_wake_before_it_counts(peers):
    one, _ = peers
    timer = threading.Timer(0.1, one.consumer.wake)
    timer.start()
    begun = time.monotonic()
    assert one.fetch(timeout=20.0) == []
    timer.join()
    one.consumer.wake()
    assert one.fetch(timeout=20.0) == []
    assert time.monotonic() - begun < 10


def test_a_fetch_ends_at_its_timeout(peers):
    begun = time.monotonic()
    assert peers[0].fetch(timeout=0.05) == []
    assert 0.05 <= time.monotonic() - begun < 5

"""The queue behind `publish_soon`: in order, bounded, and no future is left without an end."""

from __future__ import annotations

import threading

import pytest

from eventbus import BusClosedError, Event, PublishError, SerializationError
from eventbus._engine import soon as soon_module
from eventbus._engine.soon import Soon


class Publisher:
    """Keeps what it is given; each call waits for the gate and may then raise."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.gate.set()
        self.errors = []
        self.threads = set()

    @property
    def payloads(self):
        return [event.payload for batch in self.batches for event in batch]

    def record(self, event):
        if event.payload == "unwritable":
            raise SerializationError("payload cannot be sent")

    def publish(self, events):
        self.threads.add(threading.current_thread())
        self.reached.set()
        assert self.gate.wait(20)
        self.batches.append(events)
        if self.errors and (error := self.errors.pop(0)):
            raise error(events) if callable(error) else error


@pytest.fixture
def publisher():
    return Publisher()


@pytest.fixture
def soon(publisher):
    made = Soon(publisher, "eventbus-test-publisher")
    yield made
    publisher.gate.set()
    made.close(5.0)


def hold(soon, publisher):
    """Queue one event whose publish waits, so that what follows is queued behind it."""
    publisher.gate.clear()
    first = soon.add(Event("a.b", "first"))
    assert publisher.reached.wait(5)
    return first


def test_events_are_sent_in_the_order_of_the_calls_and_in_few_batches(soon, publisher):
    hold(soon, publisher)
    futures = [soon.add(Event("a.b", n)) for n in range(2500)]
    publisher.gate.set()

    assert [future.result(5).payload for future in futures] == list(range(2500))
    assert publisher.payloads == ["first", *range(2500)]
    assert [len(batch) for batch in publisher.batches] == [1, 1000, 1000, 500]
    assert threading.current_thread() not in publisher.threads


def test_a_full_queue_refuses_at_once_and_recovers(soon, publisher, monkeypatch):
    monkeypatch.setattr(soon_module, "CAPACITY", 3)
    hold(soon, publisher)
    kept = [soon.add(Event("a.b", n)) for n in range(3)]
    refused = Event("a.b", "too many")

    error = soon.add(refused).exception(0)
    assert isinstance(error, PublishError)
    assert (error.event, error.outcomes) == (refused, {refused.id: "failed"})
    assert "3 events already wait in publish_soon" in str(error)

    publisher.gate.set()
    assert [future.result(5).payload for future in kept] == [0, 1, 2]
    assert soon.add(Event("a.b", 4)).result(5).payload == 4
    assert "too many" not in publisher.payloads


def test_a_cancelled_future_is_not_sent(soon, publisher):
    hold(soon, publisher)
    unwanted, wanted = soon.add(Event("a.b", "unwanted")), soon.add(Event("a.b", "wanted"))
    assert unwanted.cancel()
    publisher.gate.set()

    wanted.result(5)
    assert publisher.payloads == ["first", "wanted"]


def test_a_batch_of_cancelled_futures_sends_nothing(soon, publisher):
    hold(soon, publisher)
    assert soon.add(Event("a.b", "unwanted")).cancel()
    publisher.gate.set()

    assert soon.flush(5)
    assert publisher.payloads == ["first"]


def test_each_future_of_a_batch_that_failed_in_part_tells_its_own_outcome(soon, publisher):
    def partly(events):
        ok, failed, *_ = (event.id for event in events)
        return PublishError("cut", event=events[1], outcomes={ok: "ok", failed: "failed"})

    publisher.errors = [None, partly]
    hold(soon, publisher)
    stored, failed, unknown = (soon.add(Event("a.b", n)) for n in range(3))
    publisher.gate.set()

    assert stored.result(5).payload == 0
    for future, payload, outcome in ((failed, 1, "failed"), (unknown, 2, "unknown")):
        error = future.exception(5)
        assert isinstance(error, PublishError)
        assert (error.event.payload, error.outcome) == (payload, outcome)
        assert error.outcomes == {error.event.id: outcome}


def test_any_other_error_reaches_the_futures_and_the_thread_goes_on(soon, publisher):
    publisher.errors = [RuntimeError("a fault of ours")]

    with pytest.raises(RuntimeError, match="a fault of ours"):
        soon.add(Event("a.b", 1)).result(5)
    assert soon.add(Event("a.b", 2)).result(5).payload == 2
    assert len(publisher.threads) == 1


def test_what_cannot_be_written_is_refused_in_the_call_itself(soon, publisher):
    with pytest.raises(SerializationError):
        soon.add(Event("a.b", "unwritable"))
    assert soon.flush(0)


def test_flush_waits_for_what_is_being_sent_but_not_longer_than_told(soon, publisher):
    hold(soon, publisher)
    assert not soon.flush(0.01)
    publisher.gate.set()
    assert soon.flush(5)
    assert publisher.payloads == ["first"]


def test_closing_sends_what_waits_and_ends_the_thread(soon, publisher):
    future = soon.add(Event("a.b", 1))
    assert soon.close(5)
    assert future.result(0).payload == 1
    assert not any(thread.is_alive() for thread in publisher.threads)


def test_closing_fails_what_could_not_be_sent_in_time(soon, publisher):
    being_sent = hold(soon, publisher)
    left, cancelled = soon.add(Event("a.b", "left")), soon.add(Event("a.b", "cancelled"))
    cancelled.cancel()

    assert not soon.close(0.01)
    error = left.exception(0)
    assert isinstance(error, PublishError)
    assert isinstance(error.__cause__, BusClosedError)
    assert (error.event.payload, error.outcome) == ("left", "failed")
    publisher.gate.set()
    assert being_sent.result(5).payload == "first"
    assert publisher.payloads == ["first"]


def test_closing_before_anything_was_queued_is_done_at_once(publisher):
    unused = Soon(publisher, "eventbus-test-publisher")
    assert unused.close(0)
    assert unused.close(0)


def test_where_no_thread_can_be_started_any_more_the_caller_sends(publisher, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    late = Soon(publisher, "eventbus-test-publisher")

    assert late.add(Event("a.b", 1)).result(0).payload == 1
    assert publisher.threads == {threading.current_thread()}
    assert late.close(0)

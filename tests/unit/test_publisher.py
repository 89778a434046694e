"""Publishing without a broker: chunks, group commit, what is sent again, and what it says."""

from __future__ import annotations

import threading

import msgspec
import pytest

from eventbus import Event, PublishError, SerializationError, TopologyError, TransportUnavailable
from eventbus._engine import publisher as module
from eventbus._engine.maintenance import Maintenance
from eventbus._engine.publisher import CHUNK, Publisher
from eventbus.transports.base import PartlyStored
from tests.unit.engine_fakes import CAPABILITIES, Clock

FAILED = TransportUnavailable("away")
UNKNOWN = TransportUnavailable("no answer", outcome="unknown")


class Broker:
    """Stores what it is given; each call may take time and then fail."""

    def __init__(self, **capabilities):
        self.capabilities = msgspec.structs.replace(CAPABILITIES, **capabilities)
        self.calls = []
        self.stored = []
        self.errors = []
        self.before = lambda: None

    def publish(self, records, *, timeout, wait, connection=None):
        self.calls.append(len(records))
        self.before()
        error = self.errors.pop(0) if self.errors else None
        count = error.stored if isinstance(error, PartlyStored) else 0 if error else len(records)
        self.stored += [record.id for record in records[:count]]
        if error is not None:
            raise error


@pytest.fixture
def clock(monkeypatch):
    clock = Clock().install(monkeypatch, module)
    monkeypatch.setattr(module, "sleep", clock.sleep)
    return clock


def publisher(broker, timeout=5.0):
    return Publisher(
        broker, prefix="p", limit=1000, timeout=timeout, maintenance=Maintenance(broker)
    )


def events(number):
    return [Event("a.b", n) for n in range(number)]


def ids(some):
    return [event.id for event in some]


def test_events_are_sent_in_order_a_chunk_at_a_time(clock):
    broker, some = Broker(), events(2 * CHUNK + 5)
    sending = publisher(broker)
    sending.publish(some)
    assert broker.calls == [CHUNK, CHUNK, 5]
    assert broker.stored == ids(some)
    assert sending.published == len(some)


def test_nothing_is_sent_if_one_event_cannot_be_written(clock):
    broker = Broker()
    with pytest.raises(SerializationError):
        publisher(broker).publish([Event("a.b", 1), Event("a.b", "x" * 2000)])
    assert broker.calls == []


def test_what_was_certainly_not_stored_is_sent_again_until_the_timeout(clock):
    broker, some, begun = Broker(), events(3), clock.now
    broker.errors = [FAILED] * 3
    publisher(broker).publish(some)
    assert broker.calls == [3] * 4
    assert broker.stored == ids(some)

    broker.errors = [FAILED] * 1000
    with pytest.raises(PublishError, match=r"3 events .* not stored: away") as caught:
        publisher(broker, timeout=2.0).publish(some)
    assert caught.value.outcomes == dict.fromkeys(ids(some), "failed")
    assert caught.value.__cause__ is FAILED
    assert clock.now - begun < 3.0 + 2.0


def test_what_may_have_been_stored_is_not_sent_again(clock):
    broker, some = Broker(), events(2)
    broker.errors = [UNKNOWN]
    with pytest.raises(PublishError, match="may or may not have been stored") as caught:
        publisher(broker).publish(some)
    assert (broker.calls, caught.value.outcome) == ([2], "unknown")


def test_one_event_is_sent_again_as_long_as_many_are(clock):
    broker, event, begun = Broker(), Event("a.b"), clock.now
    broker.errors = [FAILED] * 3
    sending = publisher(broker, timeout=2.0)
    sending.publish_one(event, wait=True)
    assert (broker.calls, broker.stored, sending.published) == ([1] * 4, [event.id], 1)

    broker.errors = [FAILED] * 1000
    with pytest.raises(PublishError, match="was not stored: away"):
        sending.publish_one(event, wait=True)
    assert clock.now - begun < 2 * 2.0 + 1.0
    assert sending.published == 1


def test_one_event_that_may_have_been_stored_is_not_sent_again(clock):
    broker = Broker()
    broker.errors = [UNKNOWN]
    with pytest.raises(PublishError, match="may or may not have been stored"):
        publisher(broker).publish_one(Event("a.b"), wait=True)
    assert broker.calls == [1]


def test_where_the_broker_drops_the_second_copy_it_is(clock):
    broker = Broker(deduplicates=True)
    broker.errors = [UNKNOWN, UNKNOWN]
    publisher(broker).publish(events(2))
    assert broker.calls == [2, 2, 2]


def test_what_a_person_has_to_change_is_raised_at_once(clock):
    broker = Broker()
    broker.errors = [TopologyError("no such thing")]
    with pytest.raises(PublishError, match="was not stored: no such thing"):
        publisher(broker).publish(events(1))
    assert broker.calls == [1]


def test_outcomes_tell_the_chunks_that_were_stored_from_those_never_sent(clock):
    broker, some = Broker(), events(2 * CHUNK + 5)
    broker.errors = [None, UNKNOWN]
    sending = publisher(broker)
    with pytest.raises(PublishError) as caught:
        sending.publish(some)
    outcomes = [caught.value.outcomes[id] for id in ids(some)]
    assert outcomes == ["ok"] * CHUNK + ["unknown"] * CHUNK + ["failed"] * 5
    assert caught.value.event is some[CHUNK]
    assert sending.published == CHUNK


def test_of_a_batch_that_was_stored_in_part_only_the_rest_is_sent_again(clock):
    broker, some = Broker(concurrent_publish=True), events(10)
    broker.errors = [PartlyStored("full", stored=4), PartlyStored("full", stored=3)]
    sending = publisher(broker)
    sending.publish(some)
    assert broker.calls == [10, 6, 3]
    assert broker.stored == ids(some)
    assert sending.published == 10


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("outcome", ["failed", "unknown"])
def test_what_is_stored_as_a_whole_before_an_error_is_published(clock, concurrent, outcome):
    broker, some = Broker(concurrent_publish=concurrent), events(3)
    sending = publisher(broker)
    broker.errors = [PartlyStored("gone", stored=3, outcome=outcome)]
    sending.publish(some)
    broker.errors = [PartlyStored("gone", stored=1, outcome=outcome)]
    sending.publish_one(*events(1), wait=True)
    assert broker.calls == [3, 1]
    assert sending.published == 4


def test_in_the_callers_transaction_nothing_is_tried_again(clock):
    broker = Broker()
    broker.errors = [FAILED]
    with pytest.raises(PublishError, match="was not stored: away"):
        publisher(broker).publish(events(1), connection=object())
    assert broker.calls == [1]


# -- group commit ----------------------------------------------------------------------------------


class Crowd:
    """One publish stands in the broker; others wait for it."""

    def __init__(self, broker, timeout=20.0):
        self.sending = publisher(broker, timeout)
        self.gate, self.reached = threading.Event(), threading.Event()
        self.results, self.threads = {}, []
        broker.before = self._stand

    def _stand(self):
        self.reached.set()
        assert self.gate.wait(20)

    def publish(self, name, event):
        def run():
            try:
                self.sending.publish([event])
                self.results[name] = "ok"
            except BaseException as error:
                self.results[name] = error

        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)

    def queued(self, number):
        while len(self.sending._group.queue) < number:
            threading.Event().wait(0.001)

    def finish(self):
        self.gate.set()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


def test_those_who_wait_share_the_next_round_trip():
    broker = Broker()
    crowd, some = Crowd(broker), events(6)
    crowd.publish("first", some[0])
    assert crowd.reached.wait(5)
    for number, event in enumerate(some[1:], start=1):
        crowd.publish(number, event)
        crowd.queued(number)
    crowd.finish()

    assert broker.calls == [1, 5]
    assert broker.stored == ids(some)
    assert set(crowd.results.values()) == {"ok"}
    assert crowd.sending.published == 6


def test_an_error_of_the_shared_round_trip_reaches_each_of_them():
    broker = Broker()
    broker.errors = [None, UNKNOWN]
    crowd, some = Crowd(broker), events(3)
    crowd.publish("first", some[0])
    assert crowd.reached.wait(5)
    for number in (1, 2):
        crowd.publish(number, some[number])
        crowd.queued(number)
    crowd.finish()

    assert crowd.results.pop("first") == "ok"
    for number, error in crowd.results.items():
        assert isinstance(error, PublishError)
        assert error.outcomes == {some[number].id: "unknown"}


def test_who_could_not_be_sent_in_time_was_not_stored():
    broker = Broker()
    crowd, some = Crowd(broker), events(2)
    crowd.publish("first", some[0])
    assert crowd.reached.wait(5)
    crowd.sending._timeout = 0.05
    with pytest.raises(PublishError, match="still waiting for its confirmation") as caught:
        crowd.sending.publish([some[1]])
    assert caught.value.outcome == "failed"
    crowd.finish()
    assert broker.stored == [some[0].id]


def test_an_interrupted_leader_leaves_nobody_waiting():
    broker, some = Broker(), events(1)

    def interrupt():
        raise KeyboardInterrupt

    broker.before = interrupt
    sending = publisher(broker)
    with pytest.raises(KeyboardInterrupt):
        sending.publish(some)
    broker.before = lambda: None
    sending.publish(some)
    assert broker.stored == ids(some)

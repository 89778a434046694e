"""Events through pickle and copy, and ids made by many threads."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from threading import Barrier, Thread
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import Event
from eventbus._ids import new_id

payloads = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda values: st.lists(values, max_size=3)
    | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)
texts = st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=10)
events = st.builds(
    Event,
    type=st.sampled_from(["a", "user.created", "a-b.c_d.9"]),
    payload=payloads,
    key=st.none() | texts.filter(bool),
    metadata=st.dictionaries(texts.filter(bool), texts, max_size=3),
    timestamp=st.datetimes(
        datetime(1971, 1, 1), datetime(9990, 1, 1),
        timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-7))]),
    ),
    attempt=st.integers(1, 1000),
    topic=st.sampled_from(["", "p.user.created"]),
)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@given(event=events)
def test_an_event_survives_pickling(protocol, event):
    other = pickle.loads(pickle.dumps(event, protocol))
    assert type(other) is Event
    assert other == event
    assert hash(other) == hash(event)
    assert other.timestamp.tzinfo is timezone.utc
    # Equality looks at all of it.
    assert {name: getattr(other, name) for name in Event.__struct_fields__} == {
        name: getattr(event, name) for name in Event.__struct_fields__
    }


@given(events)
def test_a_deep_copy_is_equal(event):
    assert copy.deepcopy(event) == event
    assert copy.copy(event) == event


def test_a_deep_copy_shares_nothing_that_can_be_changed():
    event = Event("a.b", {"list": [1]}, metadata={"trace": "1"})
    other = copy.deepcopy(event)
    other.payload["list"].append(2)
    other.metadata["trace"] = "2"
    assert (event.payload, event.metadata) == ({"list": [1]}, {"trace": "1"})
    assert other != event


def test_an_event_travels_to_another_process():
    event = Event("a.b", {"n": [1, None]}, key="k", metadata={"trace": "1"})
    code = "import pickle, sys; event = pickle.load(sys.stdin.buffer); sys.stdout.buffer.write("
    code += "pickle.dumps((event, event.id)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(event), stdout=subprocess.PIPE,
        check=True, timeout=60,
    ).stdout
    assert pickle.loads(answer) == (event, event.id)


# -- ids -------------------------------------------------------------------------------------------

THREADS, EACH = 8, 5_000
#: Up to the version digit: the milliseconds.
TIME = len("01890a5d-ac96")


@pytest.fixture(scope="module")
def ids():
    """Made by eight threads that begin together."""
    barrier = Barrier(THREADS)
    made = [[] for _ in range(THREADS)]

    def make(mine):
        barrier.wait(10)
        for _ in range(EACH):
            mine.append(new_id())

    threads = [Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return made


def test_ids_of_many_threads_are_unique(ids):
    assert len(set().union(*ids)) == THREADS * EACH


def test_ids_of_each_thread_are_in_the_order_of_their_time(ids):
    for mine in ids:
        times = [id[:TIME] for id in mine]
        assert times == sorted(times)


def test_each_id_is_a_version_seven_uuid_of_now(ids):
    now = datetime.now(timezone.utc).timestamp() * 1000
    for id in (id for mine in ids for id in mine[:: EACH // 100]):
        uuid = UUID(id)
        assert (uuid.version, uuid.variant, str(uuid)) == (7, "specified in RFC 4122", id)
        assert now - 60_000 < uuid.int >> 80 <= now


def test_the_random_part_takes_all_its_values(ids):
    """74 random bits: each of them is set in about half of all ids."""
    numbers = [UUID(id).int for mine in ids for id in mine]
    for bit in [*range(62), *range(64, 76)]:
        share = sum(number >> bit & 1 for number in numbers) / len(numbers)
        assert 0.45 < share < 0.55, bit

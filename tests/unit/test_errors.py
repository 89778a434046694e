"""The tree of errors, and what each error carries."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import (
    AuthenticationError,
    BusClosedError,
    ConfigurationError,
    Event,
    EventBusError,
    PublishError,
    Reject,
    RetryLater,
    SerializationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)
from eventbus.errors import LONGEST_DELAY

outcomes = st.dictionaries(st.text(), st.sampled_from(["ok", "failed", "unknown"]))


@pytest.mark.parametrize(
    "error",
    [ConfigurationError, BusClosedError, TransportError, PublishError, SerializationError],
)
def test_every_error_has_the_same_root(error):
    assert error.__bases__[0] is EventBusError


@pytest.mark.parametrize("error", [AuthenticationError, TopologyError, TransportUnavailable])
def test_what_a_broker_does_wrong_is_a_transport_error(error):
    assert error.__bases__ == (TransportError,)
    assert error("down").outcome == "failed"
    assert error("down", outcome="unknown").outcome == "unknown"


def test_a_configuration_error_is_a_value_error():
    assert issubclass(ConfigurationError, ValueError)


@pytest.mark.parametrize("signal", [Reject, RetryLater])
def test_signals_of_handlers_are_no_errors_of_the_library(signal):
    assert not issubclass(signal, EventBusError)


@given(outcomes)
def test_the_outcome_of_a_publish_is_the_worst_of_all(found):
    error = PublishError("no", event=Event("a"), outcomes=found)
    assert error.outcome == ("unknown" if "unknown" in found.values() else "failed")


def test_a_publish_error_keeps_outcomes_of_its_own():
    found = {"1": "failed"}
    error = PublishError("no", event=Event("a"), outcomes=found)
    found["1"] = "unknown"
    assert error.outcome == "failed"


@pytest.mark.parametrize(
    "duplicate", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize(
    ("error", "carried"),
    [
        (PublishError("no", event=Event("a", 1), outcomes={"1": "unknown"}), "event"),
        (PublishError("no", event=Event("a", 1), outcomes={"1": "unknown"}), "outcomes"),
        (TransportUnavailable("down", outcome="unknown"), "outcome"),
        (Reject("why"), "reason"),
        (RetryLater(2.5), "delay"),
    ],
    ids=["event", "outcomes", "outcome", "reason", "delay"],
)
def test_a_copied_error_carries_the_same(duplicate, error, carried):
    again = duplicate(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert getattr(again, carried) == getattr(error, carried)


@pytest.mark.parametrize(
    "delay", [-1, -0.001, float("nan"), float("inf"), float("-inf"), LONGEST_DELAY + 1, 10**400]
)
def test_an_impossible_delay_is_refused(delay):
    with pytest.raises(ValueError, match=r"delay must be from 0 to 31536000 seconds, not "):
        RetryLater(delay)


@given(st.none() | st.floats(0, LONGEST_DELAY))
def test_a_possible_delay_is_kept(delay):
    assert RetryLater(delay).delay == delay


def test_signals_say_what_they_want():
    assert str(Reject("no such user")) == "no such user"
    assert str(RetryLater()) == "retry later"
    assert str(RetryLater(1.5)) == "retry in 1.5 s"

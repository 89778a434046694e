"""What answers of JetStream refuse."""

from __future__ import annotations

from typing import Any

import pytest

from eventbus.errors import TopologyError, TransportError, TransportUnavailable
from eventbus.transports.base import PartlyStored
from eventbus.transports.nats.errors import HALF_MADE, NO_STREAM, Refused, refused
from eventbus.transports.nats.publishing import Batch

pytestmark = pytest.mark.nats

CREATED = "io.nats.jetstream.api.v1.consumer_create_response"
INFO = "io.nats.jetstream.api.v1.consumer_info_response"


class Link:
    """One whose loop has nothing to do."""

    class loop:
        create_future = staticmethod(lambda: None)


def answer(type: str = CREATED, **more: Any) -> TransportError | None:
    return refused("nats", {"type": type, **more}, "CONSUMER.CREATE.s")


@pytest.mark.parametrize("words", ["invalid stream", "consumer closed"])
def test_a_stream_that_is_being_removed_is_asked_for_again(words: str) -> None:
    error = answer(error={"code": 500, "err_code": 10012, "description": words})

    assert isinstance(error, Refused)
    assert error.code == HALF_MADE


@pytest.mark.parametrize("type", [CREATED, INFO])
def test_so_is_a_consumer_that_was_removed_before_it_could_be_described(type: str) -> None:
    error = answer(type)

    assert isinstance(error, Refused)
    assert error.code == HALF_MADE
    assert "removed while it was described (CONSUMER.CREATE.s)" in str(error)


def test_another_refusal_under_the_general_code_is_told_as_it_is() -> None:
    error = answer(error={"code": 500, "err_code": 10012, "description": "no such policy"})

    assert isinstance(error, Refused)
    assert error.code == 10012
    assert "no such policy" in str(error)


def test_what_is_described_is_not_refused() -> None:
    assert answer(name="c", num_pending=0) is None
    assert answer("io.nats.jetstream.api.v1.stream_names_response", streams=[]) is None


def test_codes_say_what_passes() -> None:
    missing = answer(error={"code": 404, "err_code": 10059, "description": "stream not found"})
    assert isinstance(missing, Refused)
    assert missing.code == NO_STREAM
    busy = answer(error={"code": 503, "err_code": 10008, "description": "unavailable"})
    assert isinstance(busy, TransportUnavailable)
    off = answer(error={"code": 503, "err_code": 10076, "description": "not enabled"})
    assert isinstance(off, TopologyError)


def test_what_is_confirmed_as_the_wait_ends_is_stored() -> None:
    batch = Batch(Link())  # type: ignore[arg-type]
    batch.answers = [True, True]
    batch.raise_errors(TransportUnavailable("no answer in time"))

    batch.answers = [True, None]
    with pytest.raises(PartlyStored) as caught:
        batch.raise_errors(TransportUnavailable("no answer in time"))
    assert caught.value.stored == 1

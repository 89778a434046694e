"""Kafka without a broker: what is said of events whose client is given up."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from eventbus import AuthenticationError, KafkaConfig, TransportError, TransportUnavailable
from eventbus.transports.base import Record, Settings
from eventbus.transports.kafka import clients
from eventbus.transports.kafka.errors import INFERRED
from eventbus.transports.kafka.options import Options
from eventbus.transports.kafka.producing import Batch, Outgoing, Producing
from eventbus.transports.kafka.publishing import Publishing
from eventbus.transports.kafka.trouble import BROKEN_OFF, Trouble

DENIED = KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: not you")
MESSAGES = [Outgoing("job", b"1"), Outgoing("job", b"2")]


class Message:
    def __init__(self, offset: int | None = 7) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


class Client:
    """A producer that sends so many messages, is then refused, and purges the rest."""

    def __init__(self, sent: int, stored: int, trouble: Trouble) -> None:
        self.sent, self.stored, self._trouble = sent, stored, trouble
        self.told: list[Any] = []

    def produce(self, *arguments: Any, on_delivery: Any, **more: Any) -> None:
        self.told.append(on_delivery)

    def poll(self, timeout: float) -> int:
        if self.told and timeout > 0:
            for told in self.told[: self.stored]:
                told(None, Message())
            self._trouble._error(DENIED)
        return 0

    def purge(self) -> None:
        for number, told in enumerate(self.told[self.stored :], self.stored):
            code = KafkaError._PURGE_INFLIGHT if number < self.sent else KafkaError._PURGE_QUEUE
            told(KafkaError(code), None)


@pytest.fixture
def options() -> Options:
    settings = Settings(prefix="", lease=30.0, retention=1.0, publish_timeout=1.0)
    return Options(KafkaConfig(brokers=["127.0.0.1:1"]), settings)


def producing(
    options: Options, monkeypatch: pytest.MonkeyPatch, *, sent: int, stored: int
) -> Producing:
    monkeypatch.setattr(
        clients, "make", lambda kind, settings, trouble: Client(sent, stored, trouble)
    )
    return Producing(options)


@pytest.mark.parametrize(
    ("sent", "stored", "outcome"),
    [(0, 0, "failed"), (1, 0, "unknown"), (2, 0, "unknown"), (1, 1, "unknown")],
)
def test_only_what_was_never_sent_has_failed(
    options: Options, monkeypatch: pytest.MonkeyPatch, sent: int, stored: int, outcome: str
) -> None:
    writer = producing(options, monkeypatch, sent=sent, stored=stored)

    with pytest.raises(AuthenticationError) as caught:
        writer.send(MESSAGES, 1.0)

    assert caught.value.outcome == outcome


class Catalogue:
    def ensure(self, *arguments: Any) -> None:
        pass


class Writes:
    """Answers each `send` in turn: per message an error, `None` if stored, `...` if untold,
    `INFERRED` if the client only infers that it is stored.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []

    def warm_up(self) -> None:
        pass

    def late(self) -> TransportUnavailable:
        return TransportUnavailable("late", outcome="unknown")

    def send(self, messages: Any, timeout: float) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        batch = Batch(len(messages))
        self.sent.append([message.value for message in messages])
        for number, error in enumerate(answer):
            if error is INFERRED:
                batch.told(number, None, Message(None))  # type: ignore[arg-type]
            elif error is not ...:
                batch.told(number, error, Message())  # type: ignore[arg-type]
        return batch


MISSING = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)


@pytest.mark.parametrize(
    ("answers", "outcome", "stored"),
    [
        # Next to what has no topic, something that nobody knows of.
        (([MISSING, ...],), "unknown", 0),
        (([..., MISSING],), "unknown", 0),
        # Stored, and the rest, for which a topic was made, is given up.
        (([None, MISSING], TransportUnavailable("gone")), "unknown", 1),
        ((TransportUnavailable("gone", outcome="failed"),), "failed", 0),
        # Nobody knows whether it is stored, and there is no time left to send it again.
        (([INFERRED, None], TransportUnavailable("gone")), "unknown", 0),
    ],
)
def test_what_may_have_arrived_has_not_failed(answers: Any, outcome: str, stored: int) -> None:
    publishing = Publishing(Writes(*answers), Catalogue(), print, "kafka")  # type: ignore[arg-type]
    records = [Record(f"{number}", "job", b"{}") for number in range(2)]

    with pytest.raises(TransportError) as caught:
        publishing.publish(records, 1.0)

    assert caught.value.outcome == outcome
    assert getattr(caught.value, "stored", 0) == stored


def test_what_is_confirmed_in_the_last_moment_is_stored() -> None:
    writes = Writes([None, None])
    publishing = Publishing(writes, Catalogue(), print, "kafka")  # type: ignore[arg-type]

    publishing.publish([Record(f"{n}", "job", b"{}") for n in range(2)], 0.0)

    assert len(writes.sent) == 1


def test_what_the_client_only_infers_to_be_stored_is_sent_again() -> None:
    writes = Writes([None, INFERRED, INFERRED, None], [None, None])
    publishing = Publishing(writes, Catalogue(), print, "kafka")  # type: ignore[arg-type]

    publishing.publish([Record(f"{n}", "job", b"%d" % n) for n in range(4)], 1.0)

    assert writes.sent == [[b"0", b"1", b"2", b"3"], [b"1", b"2"]]


def test_a_handshake_that_breaks_off_is_no_refusal() -> None:
    trouble = Trouble("kafka")
    text = f"SASL PLAIN mechanism handshake failed: {BROKEN_OFF}: broker's mechanisms: PLAIN"
    trouble._error(KafkaError(KafkaError._AUTHENTICATION, text))
    trouble.check()
    assert "handshake failed" in trouble.explain("no answer")

    trouble._error(DENIED)
    with pytest.raises(AuthenticationError):
        trouble.check()

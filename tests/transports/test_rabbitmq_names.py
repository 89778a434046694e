"""Names and messages on RabbitMQ, without a server."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import spec

from eventbus.patterns import canonical, matches
from eventbus.transports.base import Parked, Record, SubscriptionId
from eventbus.transports.rabbitmq import address, frames, names
from eventbus.transports.rabbitmq.returns import Returns

SEGMENT = st.text("abAB01_-", min_size=1, max_size=60)
NAME = st.lists(SEGMENT, min_size=1, max_size=4).map(".".join).filter(lambda n: len(n) <= 200)
WILD = st.lists(SEGMENT | st.sampled_from(["*", "**"]), min_size=1, max_size=4).map(".".join)
PATTERN = WILD.filter(lambda n: len(n) <= 200).map(canonical)
IDS = st.builds(SubscriptionId, NAME, PATTERN)


@given(one=IDS, other=IDS)
def test_each_subscription_has_a_queue_of_its_own_that_the_server_takes(
    one: SubscriptionId, other: SubscriptionId
) -> None:
    assert (names.queue(one) == names.queue(other)) == (one == other)
    assert len(names.queue(one).encode()) <= 255
    kinds = {names.queue(one), names.parked(one.group), names.dead(one.group), names.REGISTRY}
    assert len(kinds) == 4


def topic_matches(binding: list[str], topic: list[str]) -> bool:
    """A topic exchange's rule."""
    if not binding:
        return not topic
    if binding[0] == "#":
        return topic_matches(binding[1:], topic) or (
            bool(topic) and topic_matches(binding, topic[1:])
        )
    same = bool(topic) and binding[0] in ("*", topic[0])
    return same and topic_matches(binding[1:], topic[1:])


@given(
    pattern=st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=4),
    topic=st.lists(st.sampled_from("ab"), min_size=1, max_size=5),
)
def test_a_binding_means_what_its_pattern_means(pattern: list[str], topic: list[str]) -> None:
    spelling = canonical(".".join(pattern))

    binding = names.routing_key(spelling).split(".")

    assert topic_matches(binding, topic) == matches(spelling, ".".join(topic))


@given(id=st.text(max_size=80), key=st.none() | st.text(min_size=1, max_size=80))
def test_properties_read_as_they_were_written_also_for_the_client(id: str, key: str | None) -> None:
    message = frames.event(Record(id, "a.b", b"{}", key), names.EXCHANGE)
    decoded = spec.BasicProperties().decode(message.properties)

    assert (decoded.message_id, decoded.delivery_mode) == (id, 2)
    assert (decoded.headers or {}).get(frames.KEY) == key
    found, headers = frames.read_properties(message.properties)
    assert (found, headers.get(frames.KEY)) == (id, key)


def test_properties_of_a_foreign_client_may_be_anything() -> None:
    pieces = b"".join(spec.BasicProperties(headers={"x": 1, "y": None}, app_id="go").encode())

    assert frames.read_properties(pieces) == ("", {"x": 1, "y": None})
    assert frames.read_properties(b"\xff\xff\x00") == ("", {})
    assert frames.control_of({frames.CONTROL: "{"}) is None
    assert frames.control_of({frames.CONTROL: 7}) is None
    assert frames.count_of({frames.COUNT: "many"}) == 0


def test_a_parked_event_keeps_everything() -> None:
    now = datetime.now(timezone.utc)
    item = Parked(
        subscription=SubscriptionId("g", "a.*"), handler="h", topic="a.b", data=b"x", key="k",
        attempt=3, due=now, first_failed_at=now, deaths=2, origin="letter",
    )

    message = frames.parked(item, "id", "queue")
    control = frames.control_of(frames.read_properties(message.properties)[1])

    assert control is not None
    assert (control.group, control.pattern, control.handler) == ("g", "a.*", "h")
    assert (control.topic, control.key, control.attempt, control.deaths) == ("a.b", "k", 3, 2)
    assert (control.due, control.first_failed_at, control.origin) == (now, now, "letter")
    assert (message.exchange, message.key, message.body) == ("", "queue", b"x")


@pytest.mark.parametrize(
    ("url", "hosts", "vhost"),
    [
        ("amqp://h", (("h", 5672),), "/"),
        ("amqp://h/", (("h", 5672),), "/"),
        ("amqps://h/team", (("h", 5671),), "team"),
        ("amqp://u:p@h1:1,h2,[::1]:3/%2Fa%2Fb", (("h1", 1), ("h2", 5672), ("::1", 3)), "/a/b"),
    ],
)
def test_urls(url: str, hosts: tuple[tuple[str, int], ...], vhost: str) -> None:
    found = address.parse(url)

    assert (found.hosts, found.vhost) == (hosts, vhost)
    assert (found.tls is not None) == url.startswith("amqps")


def test_special_characters_of_user_and_password_are_decoded_and_not_shown() -> None:
    found = address.parse("amqp://us%40er:p%2F%3A@h/?heartbeat=30&connection_timeout=1.5")

    assert (found.user, found.password) == ("us@er", "p/:")
    assert (found.heartbeat, found.connect_timeout) == (30, 1.5)
    assert found.name == "amqp://h/"


class _Tap:
    queue = "q"


class _Receipt:
    tap = _Tap()

    def __init__(self, id: str) -> None:
        self.id = id


class _Delivery:
    def __init__(self, id: str) -> None:
        self.receipt = _Receipt(id)


def test_returns_of_the_living_are_taken_off_the_servers_count() -> None:
    returns, one = Returns(), _Delivery("one")
    returns.note([one])  # type: ignore[list-item]
    returns.note([one])  # type: ignore[list-item]

    assert returns.deaths("q", "one", 2) == 0
    assert returns.deaths("q", "one", 3) == 1
    assert returns.deaths("q", "two", 1) == returns.deaths("p", "one", 1) == 1
    returns.forget([one])  # type: ignore[list-item]
    assert returns.deaths("q", "one", 3) == 3

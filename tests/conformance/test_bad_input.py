"""What is wrong is refused with a clear error, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eventbus import Event
from tests.conformance.target import Received, Target


async def async_handler(event: Event) -> None: ...


async def async_generator(event: Event) -> Any:
    yield event


def generator(event: Event) -> Iterator[Event]:
    yield event


def two_arguments(event: Event, other: object) -> None: ...


def no_argument() -> None: ...


class AsyncCallable:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("", "empty"),
        ("a b", "' '"),
        ("a..b", "index"),
        (".a", "index"),
        ("a.", "index"),
        ("ä", "ä"),
        ("user.*", r"\*"),
        ("a/b", "/"),
        ("a\n", r"\\n"),
        ("_eventbus.x", "reserved"),
        ("x" * 201, "200"),
    ],
)
def test_bad_type_is_refused(target: Target, type: str, told: str) -> None:
    bus = target.bus()
    for publish in (bus.publish, bus.publish_soon):
        with pytest.raises(ValueError, match=told):
            publish(type, 1)
    with pytest.raises(ValueError, match=told):
        bus.publish_many([("fine", 1), (type, 1)])

    assert bus.stats().published == 0
    assert list(bus._engine.transport.topics()) == []


@pytest.mark.parametrize(
    "pattern", ["", "a b", "a..b", "user.*x", "***", "a.***.b", "ä", "_eventbus.*", "x" * 201]
)
def test_bad_pattern_is_refused(target: Target, pattern: str) -> None:
    bus = target.bus()
    with pytest.raises(ValueError):
        bus.subscribe(pattern, Received())
    with pytest.raises(ValueError):
        bus.on(pattern, Received())

    _assert_untouched(target, bus)


@pytest.mark.parametrize("group", ["", "a b", "a.*", "ä", "_eventbus"])
def test_bad_group_is_refused(target: Target, group: str) -> None:
    bus = target.bus()
    with pytest.raises(ValueError):
        bus.subscribe("fine", Received(), group=group)
    with pytest.raises(ValueError):
        target.bus(group=group)

    _assert_untouched(target, bus)


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (async_handler, "async"),
        (async_generator, "async"),
        (AsyncCallable(), "async"),
        (generator, "generator"),
        (two_arguments, "one argument"),
        (no_argument, "one argument"),
        ("not a function", "callable"),
        (None, "callable"),
    ],
)
def test_bad_handler_is_refused(target: Target, handler: Any, told: str) -> None:
    bus = target.bus()
    with pytest.raises(TypeError, match=told):
        bus.subscribe("fine", handler)

    _assert_untouched(target, bus)


@pytest.mark.parametrize("handler", [async_handler, generator, two_arguments])
def test_bad_handler_is_refused_when_declared(target: Target, handler: Any) -> None:
    bus = target.bus()
    with pytest.raises(TypeError):
        bus.on("fine", handler)
    bus.start()

    _assert_untouched(target, bus)


def test_second_handler_of_a_name_is_refused(target: Target) -> None:
    bus, first = target.bus(), Received(name="same")
    bus.subscribe("fine", first)

    with pytest.raises(ValueError, match="same"):
        bus.subscribe("fine", Received(name="same"))

    bus.publish("fine", 1)
    assert bus.join(10)
    assert first.payloads == [1]


def test_same_name_in_another_group_or_pattern_is_welcome(target: Target) -> None:
    bus, handlers = target.bus(), [Received(name="same") for _ in range(3)]
    bus.subscribe("fine", handlers[0])
    bus.subscribe("fine", handlers[1], group="other")
    bus.subscribe("*", handlers[2])

    bus.publish("fine", 1)

    for handler in handlers:
        handler.wait(1)
    assert [handler.payloads for handler in handlers] == [[1]] * 3


def test_unknown_start_is_refused(target: Target) -> None:
    bus = target.bus()
    with pytest.raises(ValueError, match="start_from"):
        bus.subscribe("fine", Received(), start_from="yesterday")  # type: ignore[arg-type]

    _assert_untouched(target, bus)


def test_event_with_further_arguments_is_refused(target: Target) -> None:
    bus = target.bus()
    with pytest.raises(TypeError, match="Event"):
        bus.publish(Event("fine"), {"also": "this"})
    assert bus.stats().published == 0


@pytest.mark.parametrize("metadata", [{"n": 1}, {1: "n"}, {"line": "a\nb"}])
def test_bad_metadata_is_refused(target: Target, metadata: Any) -> None:
    bus = target.bus()
    with pytest.raises((TypeError, ValueError)):
        bus.publish("fine", 1, metadata=metadata)
    assert bus.stats().published == 0


@pytest.mark.parametrize("key", ["", 7, "x" * 201, "a\x00b"])
def test_bad_key_is_refused(target: Target, key: Any) -> None:
    bus = target.bus()
    with pytest.raises((TypeError, ValueError)):
        bus.publish("fine", 1, key=key)
    assert bus.stats().published == 0


def _assert_untouched(target: Target, bus: Any) -> None:
    assert bus.health().subscriptions == ()
    assert list(bus._engine.transport.list()) == []

"""Handlers as they are registered: what is refused, what they are called, how they are wrapped."""

from __future__ import annotations

import asyncio
import functools
from unittest import mock

import pytest

from eventbus import Event, EventBus, RetryPolicy
from eventbus._engine.binding import Binding, check_handler, handler_name


def plain(event):
    return event


async def coroutine(event):
    await asyncio.sleep(0)


async def async_generator(event):
    yield event


def generator(event):
    yield event


class Methods:
    def plain(self, event):
        return event

    async def coroutine(self, event):
        await asyncio.sleep(0)

    @classmethod
    def of_class(cls, event):
        return event

    @staticmethod
    def static(event):
        return event


class Callable:
    def __call__(self, event):
        return event


class AsyncCallable:
    async def __call__(self, event):
        await asyncio.sleep(0)


class GeneratorCallable:
    def __call__(self, event):
        yield event


def keyword(event, *, retries):
    return event


@functools.wraps(plain)
def wrapped(*args, **kwargs):
    return plain(*args, **kwargs)


@pytest.mark.parametrize(
    "handler",
    [
        plain, wrapped, lambda event: event, lambda *events: events, lambda event, other=1: event,
        Methods().plain, Methods().of_class, Methods.of_class, Methods.static, Callable(),
        functools.partial(keyword, retries=1), functools.partial(lambda a, b: a, 1), [].append,
        print, dict, mock.Mock(),
    ],
)
def test_whatever_takes_one_event_is_a_handler(handler):
    check_handler(handler)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (None, "must be callable, not NoneType"),
        ("module.function", "must be callable, not str"),
        (coroutine, r"is async.*asyncio\.run"),
        (async_generator, "is async"),
        (Methods().coroutine, "is async"),
        (AsyncCallable(), "is async"),
        (functools.partial(functools.partial(coroutine)), "is async"),
        (functools.partial(AsyncCallable()), "is async"),
        (generator, "is a generator"),
        (GeneratorCallable(), "is a generator"),
        (lambda: None, r"exactly one argument, the event; its signature is \(\)"),
        (lambda event, other: None, r"its signature is \(event, other\)"),
        (keyword, r"its signature is \(event, \*, retries\)"),
        (Methods.plain, r"its signature is \(self, event\)"),
        (functools.partial(plain, 1), r"its signature is \(\)"),
    ],
)
def test_what_cannot_handle_an_event_is_refused_with_the_reason(handler, message):
    with pytest.raises(TypeError, match=message):
        check_handler(handler)


def test_the_bus_refuses_it_when_it_is_registered():
    with EventBus("memory:", environ={}) as bus:
        for register in (bus.on, bus.subscribe):
            with pytest.raises(TypeError, match="is async"):
                register("a.b", coroutine)
        assert bus.health().subscriptions == ()


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (plain, f"{__name__}.plain"),
        (wrapped, f"{__name__}.plain"),
        (Methods().plain, f"{__name__}.Methods.plain"),
        (Methods.of_class, f"{__name__}.Methods.of_class"),
        (print, "builtins.print"),
        ([].append, "unknown.list.append"),
    ],
)
def test_a_handler_is_known_by_module_and_qualified_name(handler, name):
    assert handler_name(handler, None) == name
    assert handler_name(handler, "mailer") == "mailer"


@pytest.mark.parametrize("handler", [Callable(), functools.partial(plain)])
def test_what_has_no_name_of_its_own_needs_one(handler):
    with pytest.raises(ValueError, match=r"no name of its own: pass name='\.\.\.'"):
        handler_name(handler, None)
    assert handler_name(handler, "mailer") == "mailer"


@pytest.mark.parametrize("name", ["", "a\nb", "\x00"])
def test_a_name_has_to_be_printable(name):
    with pytest.raises(ValueError, match="non-empty printable string"):
        handler_name(plain, name)


def test_the_first_middleware_is_the_outermost():
    order = []

    def layer(name):
        def middleware(event, call_next):
            order.append(f"{name} in")
            result = call_next(event)
            order.append(f"{name} out")
            return result

        return middleware

    binding = Binding(
        lambda event: order.append(event.payload) or "result", "h", RetryPolicy(), mock.Mock()
    )
    binding.compose([layer("outer"), layer("inner")])
    assert binding.invoke(Event("a.b", "handler")) == "result"
    assert order == ["outer in", "inner in", "handler", "inner out", "outer out"]

    del order[:]
    binding.compose([])  # Composed anew, not once more around what was there.
    binding.invoke(Event("a.b", "handler"))
    assert order == ["handler"]


def test_a_middleware_may_replace_the_event_keep_it_back_or_fail():
    seen = []
    binding = Binding(lambda event: seen.append(event.payload), "h", RetryPolicy(), mock.Mock())

    binding.compose([lambda event, call_next: call_next(Event(event.type, "other"))])
    binding.invoke(Event("a.b", "original"))
    binding.compose([lambda event, call_next: None])
    binding.invoke(Event("a.b", "kept back"))
    binding.compose([lambda event, call_next: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        binding.invoke(Event("a.b", "failed"))

    assert seen == ["other"]

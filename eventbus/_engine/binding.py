"""A handler as it is registered: its name, its retry policy, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..event import Event
from ..retry import RetryPolicy

if TYPE_CHECKING:
    from .member import Member

Handler = Callable[[Event], object]
Middleware = Callable[[Event, Callable[[Event], object]], object]


class Binding:
    """One handler of one member."""

    __slots__ = ("handler", "invoke", "member", "name", "retry")

    def __init__(self, handler: Handler, name: str, retry: RetryPolicy, member: Member) -> None:
        self.handler = handler
        self.name = name
        self.retry = retry
        self.member = member
        self.invoke: Handler = handler

    def compose(self, middleware: Sequence[Middleware]) -> None:
        """Wrap the handler so that the first middleware is the outermost."""
        call: Handler = self.handler
        for layer in reversed(middleware):
            call = partial(_through, layer, call)
        self.invoke = call


def _through(layer: Middleware, call: Handler, event: Event) -> object:
    return layer(event, call)


def handler_name(handler: object, name: str | None) -> str:
    """Return `name`, or the `module.qualname` under which failures of the handler are stored."""
    if name is not None:
        if not name or not name.isprintable():
            raise ValueError(f"name must be a non-empty printable string, not {name!r}")
        return name
    qualname = getattr(handler, "__qualname__", None)
    if qualname is None:
        raise ValueError(f"{handler!r} has no name of its own: pass name='...'")
    return f"{getattr(handler, '__module__', None) or 'unknown'}.{qualname}"


def check_handler(handler: Any) -> None:
    """Refuse what cannot be called with one event, or would return before it is done."""
    if not callable(handler):
        raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
    for function in _functions(handler):
        _check_kind(handler, function)
    _check_arguments(handler)


def _functions(handler: Any) -> list[Any]:
    while isinstance(handler, partial):
        handler = handler.func
    return [handler, handler.__call__]


def _check_kind(handler: Any, function: Any) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"handler {handler!r} is async: eventbus calls handlers in threads, so make it a "
            "plain function (inside it, asyncio.run(...) runs a coroutine to its end)"
        )
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"handler {handler!r} is a generator: it would never run, use return")


def _check_arguments(handler: Any) -> None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # Some built-ins have no signature; they are called and seen to work or fail.
    try:
        signature.bind(None)
    except TypeError:
        raise TypeError(
            f"handler {handler!r} must take exactly one argument, the event; "
            f"its signature is {signature}"
        ) from None

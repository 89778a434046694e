"""Puts something else in the place of a bus's engine for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from .._engine.engine import Engine
from ..bus import EventBus
from .recorded import Recorded
from .recording import Recording
from .stand_in import StandIn
from .texts import show


@contextmanager
def listening(bus: EventBus, recorded: Recorded) -> Iterator[None]:
    engine: Any = bus._engine
    if isinstance(engine, (Recording, StandIn)):
        engine.listeners.append(recorded)
        try:
            yield
        finally:
            engine.listeners.remove(recorded)
        return
    layer = Recording(engine)
    layer.listeners.append(recorded)
    with _in_place(bus, layer):
        yield


@contextmanager
def standing_in(bus: EventBus, recorded: Recorded, *, handle: bool) -> Iterator[None]:
    layer = StandIn(bus, recorded, handle)
    started = bus._started
    with _in_place(bus, layer):
        try:
            yield
        finally:
            if bus._engine is layer:
                bus._started = started


@contextmanager
def _in_place(bus: EventBus, layer: Recording | StandIn) -> Iterator[None]:
    bus._engine = cast("Engine", layer)
    try:
        yield
    finally:
        layer.ended = True
        # In whatever order blocks end. A forked child has got an engine of its own meanwhile.
        while getattr(bus._engine, "ended", False):
            bus._engine = cast("StandIn", bus._engine).below


def check_bus(bus: object) -> None:
    if not isinstance(bus, EventBus):
        raise TypeError(
            f"an EventBus is needed, not {show(bus)}; if that is your own fixture `bus`, which "
            "`recorded` watches, call record() with the bus you mean instead"
        )

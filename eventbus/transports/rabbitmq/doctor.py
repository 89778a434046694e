"""What is right and wrong with a server, for `eventbus doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from ...errors import TransportError
from ..base import Finding, SubscriptionId
from . import names
from .errors import Alarm, Missing
from .lanes import Asker
from .registry import Registry
from .sender import Sender

#: Quorum queues as they are used here came with 3.8; the majors that the tests ran on.
OLDEST = (3, 8)
TESTED = ("3.10",)


def findings(
    asking: Callable[[], AbstractContextManager[Asker]],
    reading: Callable[[], AbstractContextManager[Sender]], registry: Registry,
) -> Iterator[Finding]:
    """One line for each thing that was looked at."""
    with asking() as asker:
        server = asker.connection.server
    yield version(server)
    try:
        living = registry.read().living()
    except Alarm as error:
        yield Finding("error", "alarm", f"{error}: publishing waits until it has ended")
        return
    yield Finding("ok", "alarm", "none: the server accepts messages")
    yield _exchange(asking)
    for id in sorted(living):
        yield _subscription(asking, id)


def version(server: dict[str, Any]) -> Finding:
    """What a server says of itself; pure."""
    product, text = server.get("product", "unknown"), str(server.get("version", "0.0"))
    try:
        number = tuple(int(part) for part in text.split(".")[:2])
    except ValueError:
        number = (0, 0)
    tested = f"tests ran on {', '.join(TESTED)}"
    if product != "RabbitMQ":
        return Finding("warning", "version", f"{product} {text}: {tested} of RabbitMQ")
    if number < OLDEST:
        return Finding("error", "version", f"RabbitMQ {text}: at least 3.8 is needed")
    return Finding("ok", "version", f"RabbitMQ {text}; {tested}")


def _exchange(asking: Callable[[], AbstractContextManager[Asker]]) -> Finding:
    """Also shows whether we are permitted to make things."""
    try:
        with asking() as asker:
            # Looked at first: made here, it would be without the bindings of its queues.
            asker.call(names.look_at_exchange())
            asker.call(names.declare_exchange())
    except Missing:
        return Finding("warning", "exchange", "there is none yet, or it has vanished; "
                       "the next publish makes it")
    except TransportError as error:
        return Finding("error", "exchange", str(error))
    return Finding("ok", "exchange", f"{names.EXCHANGE} is a durable topic exchange")


def _subscription(
    asking: Callable[[], AbstractContextManager[Asker]], id: SubscriptionId
) -> Finding:
    subject = f"{id.pattern} of {id.group}"
    try:
        with asking() as asker:
            # Looked at first: a queue made here would be without its binding.
            asker.call(names.look_at_queue(names.queue(id)))
            # With all its arguments: the server tells which one of an existing queue differs.
            (answer,) = asker.call(names.declare_queue(names.queue(id), names.QUORUM))
    except Missing:
        told = "its queue has vanished; a service makes it again within a minute"
        return Finding("error", subject, told)
    except TransportError as error:
        return Finding("error", subject, str(error))
    waiting, members = answer.message_count, answer.consumer_count
    text = f"quorum queue, {waiting} waiting, {members} members take events"
    if waiting and not members:
        return Finding("warning", subject, f"{text}: nobody handles them")
    return Finding("ok", subject, text)

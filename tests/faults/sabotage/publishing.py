"""What goes wrong when events are stored: publishing, and replaying dead letters."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

from eventbus import Event, PublishError
from eventbus._engine.publisher import Publisher
from eventbus.deadletter import DeadLetters

from . import change
from .storing import BETWEEN


def publish_returns_early() -> None:
    """`publish` returns while the event is still in this process alone."""

    def make(publish: Any) -> Any:
        def early(self: Any, *arguments: Any, **options: Any) -> None:
            def later() -> None:
                time.sleep(BETWEEN)
                publish(self, *arguments, **options)

            Thread(target=later, daemon=True).start()

        return early

    for name in ("publish", "publish_one"):
        change(Publisher, name, make)


def stored_but_called_failed() -> None:
    """`publish` reports a failure although the event is stored."""

    def make(publish: Any) -> Any:
        def lying(self: Any, sent: Any, *arguments: Any, **options: Any) -> None:
            publish(self, sent, *arguments, **options)
            events = [sent] if isinstance(sent, Event) else sent
            outcomes = dict.fromkeys((event.id for event in events), "failed")
            raise PublishError("not stored", event=events[0], outcomes=outcomes)  # type: ignore

        return lying

    for name in ("publish", "publish_one"):
        change(Publisher, name, make)


def replay_removes_first() -> None:
    """A replayed event is removed some time before it is stored for its handler."""

    def make(deliver: Any) -> Any:
        def removed(self: Any, batch: Any, refused: Any) -> Any:
            self._engine.dead_letter_store().remove([record.id for record in batch])
            time.sleep(BETWEEN)
            return deliver(self, batch, refused)

        return removed

    change(DeadLetters, "_deliver", make)


ALL = (publish_returns_early, stored_but_called_failed, replay_removes_first)

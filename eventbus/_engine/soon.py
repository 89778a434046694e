"""`publish_soon`: events that are sent by a thread of their own, in the order of the calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread, current_thread

from ..errors import BusClosedError, PublishError
from ..event import Event
from .publisher import CHUNK, Publisher

#: Events that may wait: a burst of ten chunks. More would hide that the broker is away.
CAPACITY = 10_000
#: Seconds to wait for the thread when it has nothing left to do.
FAREWELL = 0.2


class Soon:
    """A bounded queue before the publisher; its daemon thread starts with the first event.

    Args:
        publisher: who sends.
        name: of the thread.
        ended: called by the thread when it ends.
    """

    def __init__(
        self, publisher: Publisher, name: str, ended: Callable[[], None] = lambda: None
    ) -> None:
        self._publisher = publisher
        self._name = name
        self._ended = ended
        self._inline = False
        self._changed = Condition()
        self._queue: deque[tuple[Event, Future[Event]]] = deque()
        self._sending = 0
        self._thread: Thread | None = None
        self._closed = False

    def add(self, event: Event) -> Future[Event]:
        """Queue an event; its future fails at once when the queue is full."""
        self._publisher.record(event)
        future: Future[Event] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(_too_late(event))
                return future
            if len(self._queue) >= CAPACITY:
                future.set_exception(_refusal(event))
                return future
            self._queue.append((event, future))
            threaded = not self._inline and self._start()
            self._changed.notify_all()
        if not threaded:
            self._send_next()
        return future

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was queued is sent or has failed."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._sending, timeout)

    def send_at_once(self) -> None:
        """From now on `add` itself sends: the process may end before a thread gets its turn."""
        self._inline = True

    @property
    def threaded(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def end(self) -> None:
        """Let the thread send what is queued and end. Does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self, timeout: float) -> bool:
        """Flush, fail what is left, and let the thread end."""
        flushed = self.flush(timeout)
        with self._changed:
            self._closed = True
            left = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        for event, future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(_too_late(event))
        if flushed and self._thread not in (None, current_thread()):
            self._thread.join(timeout=FAREWELL)
        return flushed

    def _start(self) -> bool:
        if self._thread is None:
            thread = Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # Some Pythons start no thread any more at interpreter exit.
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    break
            self._send_next()
        self._ended()

    def _send_next(self) -> None:
        with self._changed:
            count = min(CHUNK, len(self._queue))
            batch = [self._queue.popleft() for _ in range(count)]
            self._sending += count
        wanted = [(e, f) for e, f in batch if f.set_running_or_notify_cancel()]
        try:
            self._resolve(wanted)
        finally:
            with self._changed:
                self._sending -= count
                self._changed.notify_all()

    def _resolve(self, wanted: list[tuple[Event, Future[Event]]]) -> None:
        failure: Exception | None = None
        outcomes = {}
        try:
            if wanted:
                self._publisher.publish([event for event, _ in wanted])
        except PublishError as error:
            failure, outcomes = error, error.outcomes
        except Exception as error:
            failure = error
        for event, future in wanted:
            if failure is None or outcomes.get(event.id) == "ok":
                future.set_result(event)
            elif isinstance(failure, PublishError):
                future.set_exception(
                    PublishError(str(failure), event=event,
                                 outcomes={event.id: outcomes.get(event.id, "unknown")})
                )
            else:
                future.set_exception(failure)


def _too_late(event: Event) -> PublishError:
    error = PublishError(
        f"event {event.type!r} (id {event.id}) was not stored: the bus was closed",
        event=event, outcomes={event.id: "failed"},
    )
    error.__cause__ = BusClosedError("the bus is closed")
    return error


def _refusal(event: Event) -> PublishError:
    return PublishError(
        f"event {event.type!r} (id {event.id}) was not stored: {CAPACITY} events already wait "
        "in publish_soon; wait for their futures, or use publish",
        event=event, outcomes={event.id: "failed"},
    )

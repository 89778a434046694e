"""Asking brokers, and waiting for their answers for as long as there is hope of one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ...errors import EventBusError, TransportError
from . import clients
from .errors import LATE, code_of, translate
from .options import ANSWER_TIMEOUT, Options
from .stranding import Silence
from .trouble import Trouble

T = TypeVar("T")

#: Seconds between two looks at what the callbacks have told.
GLANCE = 0.05
#: Seconds of one attempt to hear something.
PATIENCE = 1.0
#: Seconds until what was made a moment ago is asked for again.
SOON = 0.02
#: Seconds after which nobody asks a client any more that was replaced.
RETIRED = 15.0


class Questions:
    """One client for all of them, made by the first. Any thread may ask."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.trouble = Trouble(options.name)
        self._client: AdminClient | None = None
        self._silence = Silence(options.config.brokers or ())
        self._replaced: list[tuple[float, AdminClient]] = []
        #: Called to let other clients tell what has happened, whose callbacks end here too.
        self.listening: list[Callable[[], None]] = []
        self._lock = Lock()
        self._closing = False

    def client(self) -> AdminClient:
        """The one there is."""
        with self._lock:
            if self._client is None:
                self._client = clients.make(AdminClient, self.options.admin(), self.trouble)
            return self._client

    def _replace(self, stranded: AdminClient) -> None:
        """To destroy one that another thread asks can abort the process: that is done later."""
        now = monotonic()
        with self._lock:
            if self._client is stranded:
                self._replaced = [one for one in self._replaced if now - one[0] < RETIRED]
                self._replaced.append((now, stranded))
                self._client = None
                self._silence.answered()

    def _take_in(self) -> None:
        while self._client is not None and self._client.poll(0):
            continue
        for listen in self.listening:
            listen()

    def answer(self, future: Future[T]) -> T:
        try:
            return self.wait(future)
        except (KafkaException, LateError) as error:
            raise self.translated(error) from None

    def wait(self, future: Future[T], most: float = ANSWER_TIMEOUT) -> T:
        """The answer, or what the callbacks tell meanwhile: the client says it much later."""
        begun = self.begin()
        while True:
            try:
                answer = future.result(GLANCE)
            except LateError:
                self.glance(begun)
                if self.waited_enough(begun, most):
                    raise
            else:
                self.trouble.works()
                return answer

    def begin(self) -> float:
        """When a question begins: what is told of the time before is no answer to it."""
        self._take_in()
        return monotonic()

    def glance(self, begun: float | None = None) -> None:
        """Raise what makes waiting pointless."""
        trouble = self.trouble
        self._take_in()
        error: EventBusError | None = trouble.mistaken
        try:
            trouble.check(begun)
        except TransportError as denied:
            error = denied
        down = trouble.down and trouble.down_at > (begun or 0.0)
        if error is None and down and trouble.reason and not trouble.worked:
            error = trouble.unavailable("cannot be reached")
        if error is not None:
            try:
                raise error
            finally:
                # Or it and the frames up to here, and in them a client, hold each other.
                del error

    def translated(self, error: Exception) -> EventBusError:
        """With what the callbacks tell: the error itself says only that it took too long."""
        try:
            self.glance()
        except EventBusError as known:
            return known
        if isinstance(error, KafkaException) and code_of(error) not in LATE:
            return translate(error, self.options.name)
        return self.trouble.unavailable("no answer")

    def patiently(self, ask: Callable[..., T]) -> T:
        """Ask again and again for a little, with looks at what the callbacks tell."""
        begun = self.begin()
        while True:
            try:
                found = ask(timeout=PATIENCE)
            except KafkaException as error:
                self.glance(begun)
                late = code_of(error) in LATE
                if not late or self.waited_enough(begun):
                    raise self.translated(error) from None
            else:
                self.trouble.works()
                return found

    def waited_enough(self, begun: float, most: float = ANSWER_TIMEOUT) -> bool:
        """Where it is known that no broker answers, nobody has to wait for long to hear it."""
        patience = PATIENCE if self.trouble.hopeless else ANSWER_TIMEOUT
        return self._closing or monotonic() - begun >= min(patience, most)

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.patiently(self._list_topics).topics
        return found

    def _list_topics(self, timeout: float) -> Any:
        client = self.client()
        try:
            found = client.list_topics(timeout=timeout)
        except KafkaException as error:
            if code_of(error) == KafkaError._TRANSPORT and self._silence.unanswered():
                self._replace(client)
            raise
        self._silence.answered()
        return found

    def give_up(self) -> None:
        """Whoever waits for an answer hears within a second that there is none."""
        self._closing = True

    def reset(self) -> AdminClient | None:
        """Forget the client; the next question makes another one."""
        with self._lock:
            client, self._client, self._replaced = self._client, None, []
        return client

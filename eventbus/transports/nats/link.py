"""One connection to a server, and its errors in words.

The client's own reconnecting stays off: it buffers what is published meanwhile and sends it after
its failure was reported, gives up for good after two minutes, and hides an outage from the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from itertools import count
from time import monotonic
from typing import Any, TypeVar

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from ...errors import (
    AuthenticationError,
    TopologyError,
    TransportError,
    TransportUnavailable,
)
from . import options
from .errors import HALF_MADE, NO_STREAM, Outcome, Refused, refusal, refused, text_of, translate
from .loop import Expired, Loop

Result = TypeVar("Result")

#: Seconds for connecting, and for an answer where the caller names no time.
CONNECT_TIMEOUT, ANSWER_TIMEOUT = 4.0, 5.0
#: Seconds that an operation gets at least.
SHORTEST = 0.05
#: Seconds between two signs of life, which the client asks for while somebody waits.
PING = 10
#: Seconds between questions about a stream that another client is just making, and their number.
HALF_MADE_PAUSE, HALF_MADE_TRIES = 0.01, 100
#: What the server calls it when nobody listens to a subject, or a request has nothing to give.
STATUS = "Status"

#: What to do with an answer, or with the error in its place.
Take = Callable[[Msg | TransportError], None]

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Connector:
    """Makes connections to the servers of one URL; does no I/O itself."""

    def __init__(self, url: str) -> None:
        self.options = options.read(url)
        self.name = self.options.name

    def link(self, timeout: float = CONNECT_TIMEOUT) -> Link:
        """A new connection.

        Raises:
            TransportUnavailable, AuthenticationError: nothing was sent.
        """
        made = Link(self.options)
        try:
            made.run(made.connect(timeout), timeout + SHORTEST, outcome="failed")
        except BaseException as error:
            made.close()
            if isinstance(error, TransportError):
                error.outcome = "failed"
            raise
        return made


class Link:
    """A connection for one thread at a time. Coroutines run under `run`."""

    def __init__(self, settings: options.Options) -> None:
        self._options = settings
        self.name = settings.name
        self.loop = Loop(encrypt="tls" in settings.client)
        self._client = Client()
        self._numbers = count(1)
        self._pending: dict[str, Take] = {}
        self._lost: TransportError | None = None
        self._up = False
        self._out: list[bytes] = []
        self.used_at = monotonic()

    # -- life --------------------------------------------------------------------------------

    async def connect(self, timeout: float) -> None:
        """Connect to the first server that answers."""
        servers = self._options.shuffled()
        for number, server in enumerate(servers):
            try:
                await asyncio.wait_for(self._connect(server, timeout), timeout / len(servers))
                break
            except Exception as error:
                cause = self._cause(error)
                if number == len(servers) - 1:
                    raise cause from error
        self._inbox = self._client.new_inbox()
        answers = await self._client.subscribe(
            f"{self._inbox}.*", cb=self._answer, pending_msgs_limit=0, pending_bytes_limit=0
        )
        if (queue := getattr(answers, "_pending_queue", None)) is not None:
            # As they are read: the way through the client's queue takes one more turn of the loop.
            vars(queue)["put_nowait"] = self._take_answer
        self._up = True

    async def _connect(self, server: str, timeout: float) -> None:
        self._lost = None
        self._client = Client()
        await self._client.connect(
            [server], name="eventbus", allow_reconnect=False, max_reconnect_attempts=1,
            reconnect_time_wait=0, connect_timeout=timeout,  # type: ignore[arg-type]
            ping_interval=PING, error_cb=self._trouble, closed_cb=self._closed,
            **self._options.client,
        )

    def _cause(self, error: Exception) -> Exception:
        """Why connecting failed: the client itself only says that no server is left."""
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return self._lost or TransportUnavailable(f"{self.name}: could not connect in time")
        if isinstance(error, nats.errors.NoServersError):
            return self._lost or error
        return error

    def run(
        self, work: Coroutine[Any, Any, Result], timeout: float = ANSWER_TIMEOUT, *,
        outcome: Outcome = "unknown",
    ) -> Result:
        """Carry something out.

        Args:
            work: what.
            timeout: seconds.
            outcome: of an error that leaves it open whether the server has done anything.
        """
        try:
            return self.loop.drive(work, max(SHORTEST, timeout))
        except Exception as error:
            if isinstance(error, Expired) and self._lost is not None:
                raise self._lost from None
            if not isinstance(error, TransportError):
                self._break(error, outcome)
            raise translate(error, self.name, outcome, timeout) from (
                None if isinstance(error, TransportError) else error
            )
        except BaseException as interrupt:
            self._break(interrupt, outcome)
            raise
        finally:
            self.used_at = monotonic()

    def _break(self, error: BaseException, outcome: Outcome) -> None:
        if self._lost is None:
            self._lost = TransportUnavailable(f"{self.name}: {text_of(error)}", outcome=outcome)

    @property
    def usable(self) -> bool:
        return self._lost is None and not self.loop.is_closed()

    def check(self) -> None:
        """Raise if the connection is lost."""
        if self._lost is not None:
            raise self._lost
        if self.loop.is_closed():
            raise TransportUnavailable(f"{self.name}: the connection is closed")

    def close(self) -> None:
        """Close without waiting for the network; never raises."""
        if self._lost is None:
            self._lost = TransportUnavailable(f"{self.name}: the connection is closed")
        with contextlib.suppress(Exception):
            self.loop.abandon()

    async def _trouble(self, error: Exception) -> None:
        """What the client reports beside its answers."""
        found = translate(error, self.name, "unknown")
        if isinstance(found, AuthenticationError) or not self._client.is_connected:
            self._lose(found)

    async def _closed(self) -> None:
        self._lose(TransportUnavailable(f"{self.name}: the connection was lost", outcome="unknown"))

    def _lose(self, error: TransportError) -> None:
        if self._lost is None:
            self._lost = error
        pending, self._pending = self._pending, {}
        for take in pending.values():
            take(self._lost)
        if self._up:
            # Whatever waits for anything else waits in vain as well.
            self.loop.interrupt()

    # -- talking -----------------------------------------------------------------------------

    async def subscribe(self, subject: str, take: Callable[[Msg], None]) -> Any:
        """Have messages to a subject taken."""

        async def callback(message: Msg) -> None:
            take(message)

        # Without limits, beyond which the client would drop messages: we ask for each of them.
        made = await self._client.subscribe(
            subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0
        )
        # Let the client write that before we write anything that relies on it.
        await asyncio.sleep(0)
        return made

    async def unsubscribe(self, subscription: Any) -> None:
        """Hear no more; returns when all that had been sent already is taken."""
        if (number := getattr(subscription, "_id", None)) is not None:
            # The client itself would ask whether that is all before it says so.
            self._out.append(b"UNSUB %d\r\n" % number)
            self.push()
        await subscription.drain()

    def new_inbox(self) -> str:
        return self._client.new_inbox()

    def send(
        self, subject: str, data: bytes = b"", reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send without waiting for anything, together with what else is sent in this turn.

        The client's own way costs several times as much, and two more turns of the loop.
        """
        if self._lost is not None:
            raise self._lost
        packed = _packed(subject, data, reply, headers)
        # Beyond it the server would close the connection; the line in front does not count.
        if len(packed) > self.max_payload and _size(data, headers) > self.max_payload:
            raise TransportError(
                f"{self.name}: {len(data)} bytes do not fit into the server's max_payload of "
                f"{self.max_payload}"
            )
        if not self._out:
            self.loop.call_soon(self.push)
        self._out.append(packed)

    def push(self) -> None:
        """Write now what is to be sent."""
        if self._out:
            out, self._out = self._out, []
            self.loop.write(b"".join(out))

    async def ask(
        self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Send, and have the answer as a future."""
        future: asyncio.Future[Msg] = self.loop.create_future()

        def take(answer: Msg | TransportError) -> None:
            if future.done():
                return
            if isinstance(answer, TransportError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.send_for(take, subject, data, headers)
        return future

    def send_for(
        self, take: Take, subject: str, data: bytes, headers: Mapping[str, str] | None
    ) -> None:
        """Send, and have the answer taken when it comes."""
        token = str(next(self._numbers))
        self.send(subject, data, f"{self._inbox}.{token}", headers)
        self._pending[token] = take

    async def _answer(self, message: Msg) -> None:
        self._take_answer(message)

    def _take_answer(self, message: Msg) -> None:
        take = self._pending.pop(message.subject.rpartition(".")[2], None)
        if take is not None:
            take(message)

    async def api(self, subject: str, body: object = None) -> dict[str, Any]:
        """Ask JetStream, and wait.

        Raises:
            Refused: with the server's code.
            TransportUnavailable: the stream is neither there nor not there for a whole second.
        """
        for _ in range(HALF_MADE_TRIES):
            try:
                return await (await self.api_soon(subject, body))
            except Refused as error:
                if error.code != HALF_MADE:
                    raise
                half_made = error
            await asyncio.sleep(HALF_MADE_PAUSE)
        raise TransportUnavailable(str(half_made))

    async def api_soon(self, subject: str, body: object = None) -> Awaitable[dict[str, Any]]:
        """Ask JetStream now; the answer can be awaited later."""
        data = b"" if body is None else _encode(body)
        return self._read(subject, await self.ask(f"{self._options.api}.{subject}", data))

    def api_later(self, subject: str) -> None:
        """Tell JetStream; whether it worked is of no interest."""
        self.send(f"{self._options.api}.{subject}")

    async def stored(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Store one message in a stream and return the server's confirmation.

        Raises:
            Refused: with the server's code; `NO_STREAM` where no stream has the subject.
        """
        message = await (await self.ask(subject, data, headers))
        return self.confirmation(subject, message)

    def confirmation(self, subject: str, message: Msg) -> dict[str, Any]:
        """What the answer to a publish says; raises what it refuses."""
        found: dict[str, Any]
        if message.headers and STATUS in message.headers:
            raise Refused(f"{self.name}: no stream has the subject {subject!r}", NO_STREAM)
        found = _decode(message.data)
        if error := found.get("error"):
            raise refusal(self.name, error, subject)
        return found

    async def _read(self, subject: str, answer: Awaitable[Msg]) -> dict[str, Any]:
        message = await answer
        if message.headers and message.headers.get(STATUS) == "503":
            raise self._without_jetstream()
        found: dict[str, Any] = _decode(message.data)
        if error := refused(self.name, found, subject):
            raise error
        return found

    def _without_jetstream(self) -> TransportError:
        about = getattr(self._client, "_server_info", {})
        if not about.get("jetstream"):
            return TopologyError(f"{self.name}: JetStream is off: start the server with -js")
        return TransportUnavailable(f"{self.name}: JetStream does not answer")

    async def flush(self) -> None:
        """Wait until the server has read all that was sent."""
        if self._lost is not None:
            raise self._lost
        self.push()
        await self._client.flush(60)

    @property
    def version(self) -> tuple[int, int]:
        found = self._client.connected_server_version
        return found.major, found.minor

    @property
    def version_text(self) -> str:
        return str(self._client.connected_server_version).strip("<>").rpartition(" ")[2]

    @property
    def max_payload(self) -> int:
        return self._client.max_payload

    @property
    def replicas(self) -> int:
        return self._options.replicas

    @property
    def next_subject(self) -> str:
        """Where consumers are asked for messages."""
        return f"{self._options.api}.CONSUMER.MSG.NEXT"


def _packed(
    subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
) -> bytes:
    """A message in the protocol of NATS."""
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
    head = _head(headers)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
        subject.encode(), reply.encode(), len(head), len(head) + len(data), head, data
    )


def _head(headers: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def _size(data: bytes, headers: Mapping[str, str] | None) -> int:
    return len(data) + (len(_head(headers)) if headers else 0)

"""A channel: calls with their answers, messages that come in, confirms."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from pika import spec

from ...errors import TransportError
from .errors import translate

if TYPE_CHECKING:
    from .connection import Connection

_ID = Struct(">I")
_CONFIRM = Struct(">QB")
_TAG = Struct(">QB")
_BODY_SIZE = Struct(">Q")
_ACK_FRAME = Struct(">BHIIQBB")

_DELIVER, _RETURN = spec.Basic.Deliver.INDEX, spec.Basic.Return.INDEX
_ACK, _NACK = spec.Basic.Ack.INDEX, spec.Basic.Nack.INDEX
_CANCEL, _CLOSE = spec.Basic.Cancel.INDEX, spec.Channel.Close.INDEX


class Message(NamedTuple):
    """A message as it came; `properties` are decoded by whoever needs them."""

    consumer: str
    tag: int
    exchange: str
    key: str
    properties: bytes
    body: bytes


def _ignore(*_: Any) -> None:
    return


class Channel:
    """One channel of a connection; the handlers are called from within `Connection.pump`."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.error: TransportError | None = None
        self.on_message: Callable[[Message], None] = _ignore
        #: Called with the properties of a message that found no queue.
        self.on_return: Callable[[bytes], None] = _ignore
        #: Called with tag, multiple, and whether it was stored.
        self.on_confirm: Callable[[int, bool, bool], None] = _ignore
        #: Called with the tag of a consumer whose queue is gone.
        self.on_cancel: Callable[[str], None] = _ignore
        self._answers: list[Any] = []
        self._content: bytes | None = None
        self._properties = b""
        self._missing = 0
        self._parts: list[bytes] = []

    def check(self) -> None:
        """Raise what the server had against this channel or its connection."""
        if self.error is not None:
            raise self.error
        self.connection.check()

    # -- calls -------------------------------------------------------------------------------

    def call(self, *methods: Any, timeout: float = 5.0) -> list[Any]:
        """Send methods in one go and return the answers to all of them.

        Raises:
            TransportError: the server refused one of them, which has closed the channel; or there
                was no answer in time, which has closed the connection.
        """
        self.check()
        deadline = monotonic() + timeout
        wanted = len(self._answers) + len(methods)
        for method in methods:
            self.connection.write_method(self.number, method)
        while len(self._answers) < wanted:
            self.connection.pump_until(deadline)
            self.check()
        answers, self._answers = self._answers, []
        return answers

    def send(self, method: Any) -> None:
        """Queue a method that has no answer."""
        self.connection.write_method(self.number, method)

    def ack(self, tag: int, multiple: bool) -> None:
        """Queue an ack: the same as `send(spec.Basic.Ack(...))`, in a tenth of the time."""
        self.connection.write(
            _ACK_FRAME.pack(spec.FRAME_METHOD, self.number, 13, _ACK, tag, multiple, 0xCE)
        )

    def close(self, timeout: float = 5.0) -> None:
        """Close it; what was delivered on it and not acked goes back to its queue."""
        if self.error is None:
            self.call(spec.Channel.Close(200, "", 0, 0), timeout=timeout)
            self.connection.remove(self.number)

    # -- frames ------------------------------------------------------------------------------

    def take(self, kind: int, payload: bytes) -> None:
        """A frame for this channel."""
        if kind == spec.FRAME_METHOD:
            self._method(payload)
        elif kind == spec.FRAME_HEADER:
            self._missing = _BODY_SIZE.unpack_from(payload, 4)[0]
            self._properties = payload[12:]
            if not self._missing:
                self._complete(b"")
        elif kind == spec.FRAME_BODY:
            self._missing -= len(payload)
            if self._missing or self._parts:
                self._parts.append(payload)
                if self._missing:
                    return
                payload = b"".join(self._parts)
                self._parts = []
            self._complete(payload)

    def _method(self, payload: bytes) -> None:
        id = _ID.unpack_from(payload)[0]
        if id in (_DELIVER, _RETURN):
            self._content = payload
        elif id in (_ACK, _NACK):
            tag, bits = _CONFIRM.unpack_from(payload, 4)
            self.on_confirm(tag, bool(bits & 1), id == _ACK)
        elif id == _CANCEL:
            self.on_cancel(_short(payload, 4)[0])
        elif id == _CLOSE:
            self._closed(spec.Channel.Close().decode(payload, 4))
        elif id == spec.Channel.Flow.INDEX:
            self.send(spec.Channel.FlowOk(spec.Channel.Flow().decode(payload, 4).active))
        else:
            self._answers.append(spec.methods[id]().decode(payload, 4))

    def _closed(self, method: Any) -> None:
        self.send(spec.Channel.CloseOk())
        self.connection.remove(self.number)
        self.error = translate(method.reply_code, method.reply_text, self.connection.name)

    def _complete(self, body: bytes) -> None:
        content, self._content = self._content, None
        if content is None:
            return
        if _ID.unpack_from(content)[0] == _RETURN:
            self.on_return(self._properties)
            return
        consumer, position = _short(content, 4)
        tag, _ = _TAG.unpack_from(content, position)
        exchange, position = _short(content, position + 9)
        key, _ = _short(content, position)
        self.on_message(Message(consumer, tag, exchange, key, self._properties, body))


def _short(data: bytes, position: int) -> tuple[str, int]:
    """A short string and the position behind it."""
    end = position + 1 + data[position]
    return data[position + 1 : end].decode("utf-8", "replace"), end

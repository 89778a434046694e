"""Waiting without polling: one question for news and for what there is then, on its own connection.

A blocked `XREAD` over all streams, and right behind it what is to be read once one of them has
news: both are answered in one go. The server runs what stands behind whether somebody listens or
not, so the question is never left open: before the thread goes elsewhere, it is taken back with
`CLIENT UNBLOCK`, and what has come until then is handed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from time import monotonic
from typing import Any, NamedTuple

from ...errors import TransportUnavailable
from ..waiting import Waker, is_readable
from .link import Command, Connector, Link

#: Seconds that the server gets to answer on its own when the time of a question is over.
SLACK = 0.05
#: Seconds that taking a question back may last: a closing bus waits for it, if the server hangs.
PATIENCE = 2.0
#: Seconds between two attempts to: one that overtakes the question has no effect.
AGAIN = 0.01


class Ring(NamedTuple):
    """How a wait has ended.

    Attributes:
        ids: by stream, the id of one new entry.
        answers: to what was asked along.
        woken: whether somebody wants the thread back.
    """

    ids: dict[str, bytes]
    answers: list[Any]
    woken: bool


class Bell:
    """Rings when one of the streams has something beyond the given ids."""

    def __init__(self, connector: Connector, other: Link) -> None:
        """`other` is a connection to take a question back over."""
        self._link = connector.link()
        self._other = other
        self._number = 0
        self._waker = Waker()

    def wait(
        self, streams: Mapping[str, bytes], along: Sequence[Command], seconds: float
    ) -> Ring:
        """Wait for news of the streams.

        Args:
            streams: by name, the last ids that are known.
            along: what to ask for as soon as there is an answer; all of it answered at once.
            seconds: for how long, to the millisecond.
        """
        if not self._number:
            self._number = self._link.call("CLIENT", "ID")
        block = max(1, ceil(seconds * 1000))
        names, ids = streams.keys(), streams.values()
        read: Command = ("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", *names, *ids)
        self._link.send([read, *along])
        ready = self._waker.wait(self._link.fileno(), block / 1000 + SLACK)
        if not ready.server:
            self._take_back()
        news, *answers = self._link.receive(1 + len(along))
        return Ring(_ids(news), answers, ready.woken)

    def _take_back(self) -> None:
        """Have the server answer now."""
        deadline = monotonic() + PATIENCE
        while True:
            left = deadline - monotonic()
            if left <= 0:
                raise TransportUnavailable("the server does not answer any more")
            self._other.call("CLIENT", "UNBLOCK", self._number, timeout=left)
            if is_readable(self._link.fileno(), AGAIN):
                return

    def wake(self) -> None:
        """End a wait, now or the next one. Any thread may call this."""
        self._waker.wake()

    def close(self) -> None:
        self._link.close()
        self._waker.close()


def _ids(answer: list[list] | None) -> dict[str, bytes]:  # type: ignore[type-arg]
    return {stream.decode(): entries[-1][0] for stream, entries in answer or ()}

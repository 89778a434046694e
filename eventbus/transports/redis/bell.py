"""Waiting without polling: a blocked `XREAD` on a connection of its own, and a way to end it.

A plain `XREAD` takes nothing, so nothing is lost with this connection; what it reports is then
fetched through the consumer group. A wake-up from another thread costs no round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from ...errors import TransportUnavailable
from ..waiting import Waker, is_readable
from .link import ANSWER_TIMEOUT, Connector, Link

#: Seconds for which the server holds an unanswered `XREAD`.
BLOCK = 5.0
#: Seconds in which the answer to a question that was answered long ago should be here.
STALE = 0.005


class Bell:
    """Rings when one of the streams has something beyond the given ids."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._link: Link | None = None
        self._asked: dict[str, bytes] = {}
        self._sent_at = 0.0
        self._waker = Waker()

    def wait(
        self, streams: Mapping[str, bytes], timeout: float, ringing: Callable[[], None]
    ) -> dict[str, bytes] | None:
        """Wait for news of the streams.

        Args:
            streams: by name, the last ids that are known.
            timeout: seconds.
            ringing: called when there is an answer, before that is read.

        Returns:
            The id of one new entry for each stream that has any; `None` after `wake`.
        """
        self._ask(streams)
        assert self._link is not None
        ready = self._waker.wait(self._link.fileno(), timeout)
        if ready.woken:
            return None
        if not ready.server:
            if monotonic() - self._sent_at > BLOCK + ANSWER_TIMEOUT:
                raise TransportUnavailable("the server does not answer any more")
            return {}
        self._asked = {}
        ringing()
        return _ids(*self._link.receive(1))

    def _ask(self, streams: Mapping[str, bytes]) -> None:
        if self._asked and self._asked != streams:
            self._take_back(streams)
        if self._asked:
            return
        if self._link is None:
            self._link = self._connector.link()
        block = int(BLOCK * 1000)
        self._link.send(
            [("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", *streams, *streams.values())]
        )
        self._asked = dict(streams)
        self._sent_at = monotonic()

    def _take_back(self, streams: Mapping[str, bytes]) -> None:
        """Get rid of an old question: mostly it was answered by what has been fetched since."""
        assert self._link is not None
        same = self._asked.keys() == streams.keys()
        if same and is_readable(self._link.fileno(), STALE):
            self._link.receive(1)
            self._asked = {}
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Forget what was asked."""
        if self._link is not None:
            self._link.close()
        self._link, self._asked = None, {}

    def wake(self) -> None:
        """End a wait, now or the next one. Any thread may call this."""
        self._waker.wake()

    def close(self) -> None:
        self.hang_up()
        self._waker.close()


def _ids(answer: list[list] | None) -> dict[str, bytes]:  # type: ignore[type-arg]
    return {stream.decode(): entries[-1][0] for stream, entries in answer or ()}

"""Publishing events, and mending what they did not get through to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic

from ...errors import TransportError, TransportUnavailable
from ..base import PartlyStored, Record
from . import frames, names
from .errors import Missing
from .registry import Registry
from .sender import Batch, Sender
from .topology import Topology

#: Seconds that mending may take beyond a publish's time.
MENDING = 1.0


class Publishing:
    """Publishes through a connection of its own.

    Args:
        lane: gives that connection.
        registry: what topics and subscriptions there are.
        topology: what to mend.
    """

    def __init__(
        self, lane: Callable[[float], AbstractContextManager[Sender]], registry: Registry,
        topology: Topology,
    ) -> None:
        self._lane = lane
        self._registry = registry
        self._topology = topology

    def publish(self, records: Sequence[Record], timeout: float) -> None:
        """See `Transport.publish`."""
        deadline = monotonic() + timeout
        messages = [frames.event(record, names.EXCHANGE) for record in records]
        with self._lane(timeout) as sender:
            sender.wait_unblocked(deadline)
            self._look(sender, records, deadline)
            batch = sender.post(messages)
            try:
                sender.wait(batch, deadline)
            except TransportError as error:
                raise self._explain(error, batch) from error
            if batch.returned:
                self._deliver_again(sender, batch, deadline)

    def _look(self, sender: Sender, records: Sequence[Record], deadline: float) -> None:
        """Make sure that the exchange is there, and topics known, before anything is sent."""
        topics = {record.topic for record in records}
        fresh = [topic for topic in topics if not self._registry.knows(topic)]
        if fresh:
            self._topology.make(())
            self._registry.add_topics(fresh)
        elif len(records) > 1:
            # Of several messages nobody could tell afterwards which ones found no exchange.
            try:
                sender.look(names.look_at_exchange(), deadline)
            except Missing as error:
                self._topology.mend_all()
                raise TransportUnavailable(f"{error}; it was made again") from error

    def _explain(self, error: TransportError, batch: Batch) -> TransportError:
        if isinstance(error, Missing):
            self._topology.mend_all()
            if len(batch.messages) == 1:
                error.outcome = "failed"
        elif not isinstance(error, TransportUnavailable):
            return error
        stored = batch.prefix()
        return PartlyStored(str(error), stored=stored, outcome=error.outcome) if stored else error

    def _deliver_again(self, sender: Sender, batch: Batch, deadline: float) -> None:
        """What found no queue is well, unless a subscription should have had it."""
        returned = [message for message in batch.messages if message.id in batch.returned]
        try:
            wanting = self._registry.wanting({message.key for message in returned})
            if not wanting:
                return
            self._topology.mend(wanting)
            again = sender.post(returned)
            sender.wait(again, max(deadline, monotonic() + MENDING))
        except TransportError as error:
            error.outcome = "unknown" if len(returned) < len(batch.messages) else error.outcome
            raise
        # A queue that vanished again.
        if self._registry.wanting({m.key for m in returned if m.id in again.returned}):
            raise TransportUnavailable("a subscription's queue vanishes again and again")

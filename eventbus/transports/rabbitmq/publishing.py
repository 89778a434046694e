"""Publishing events, and mending what they did not get through to."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from ...errors import TransportError, TransportUnavailable
from ..base import PartlyStored, Record
from . import frames, names
from .connection import ANSWER_TIMEOUT
from .errors import Missing
from .frames import Outgoing
from .pipeline import NotConfirmed, Pipeline
from .registry import Registry
from .sender import Batch
from .topology import Topology

#: Seconds that mending may take beyond a publish's time.
MENDING = 1.0


class Publishing:
    """Publishes through a connection of its own.

    Args:
        pipeline: that connection.
        registry: what topics and subscriptions there are.
        topology: what to mend.
    """

    def __init__(self, pipeline: Pipeline, registry: Registry, topology: Topology) -> None:
        self._pipeline = pipeline
        self._registry = registry
        self._topology = topology

    def publish(self, records: Sequence[Record], timeout: float) -> None:
        """See `Transport.publish`."""
        deadline = monotonic() + timeout
        self._look(records, deadline)
        messages = [frames.event(record, names.EXCHANGE) for record in records]
        batch = self._send(messages, deadline)
        if batch.returned:
            self._deliver_again(batch, deadline)

    def _send(self, messages: Sequence[Outgoing], deadline: float) -> Batch:
        try:
            return self._pipeline.send(messages, deadline)
        except NotConfirmed as failure:
            if not isinstance(failure.error, Missing):
                raise self._explain(failure, failure.batch) from failure.error
            self._topology.mend(())
            if not failure.alone:
                raise self._explain(failure, failure.batch) from failure.error
        # Certainly not stored, and there is an exchange again.
        try:
            return self._pipeline.send(messages, max(deadline, monotonic() + MENDING))
        except NotConfirmed as failure:
            raise self._explain(failure, failure.batch) from failure.error

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Publish to queues that have to be there."""
        try:
            batch = self._pipeline.send(messages, monotonic() + ANSWER_TIMEOUT)
        except NotConfirmed as failure:
            raise failure.error from None
        if batch.returned:
            raise TransportUnavailable("a queue has vanished", outcome="unknown")

    def _look(self, records: Sequence[Record], deadline: float) -> None:
        """Make sure that the exchange is there, and topics known, before anything is sent."""
        topics = {record.topic for record in records}
        fresh = [topic for topic in topics if not self._registry.knows(topic)]
        # Of several messages nobody could tell afterwards which ones found no exchange.
        if fresh or len(records) > 1:
            self._topology.make_sure(max(0.05, deadline - monotonic()))
        if fresh:
            self._registry.add_topics(fresh, max(0.05, deadline - monotonic()))

    def _explain(self, failure: NotConfirmed, batch: Batch) -> TransportError:
        error = type(failure.error)(str(failure), outcome="unknown")
        if not isinstance(error, TransportUnavailable):
            return error
        stored = batch.prefix()
        return PartlyStored(str(error), stored=stored, outcome=error.outcome) if stored else error

    def _deliver_again(self, batch: Batch, deadline: float) -> None:
        """What found no queue is well, unless a subscription should have had it."""
        returned = [message for message in batch.messages if message.id in batch.returned]
        try:
            wanting = self._registry.wanting({message.key for message in returned})
            if not wanting:
                return
            self._topology.mend(wanting)
            again = self._pipeline.send(returned, max(deadline, monotonic() + MENDING))
        except NotConfirmed as failure:
            raise self._explain(failure, batch) from failure.error
        except TransportError as error:
            error.outcome = "unknown" if len(returned) < len(batch.messages) else "failed"
            raise
        # A queue that vanished again.
        if self._registry.wanting({m.key for m in returned if m.id in again.returned}):
            raise TransportUnavailable(
                "a subscription's queue vanishes again and again", outcome="unknown"
            )

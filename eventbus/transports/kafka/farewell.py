"""Closing clients that wait for brokers first.

A client does not end before what it has asked is answered. A broker answers the requests of a
connection one after another, and one to join a group only when all of the group have joined or are
dead for it: up to a session later.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from time import monotonic

from confluent_kafka import Consumer, KafkaException

#: Seconds after which it is no rebalance that a client waits for, but a broker that is not there,
#: or that the client does not find any more (see `stranding`).
LONGEST = 7.0


def leave(client: Consumer, seconds: float) -> bool:
    """Let a client without partitions leave its group; `False` if that takes longer.

    One that is closed says nothing then (librdkafka 2.16, with the cooperative assignor), and the
    group waits for it for a session. Nor does one that joins and has not heard yet how the broker
    has named it.
    """
    deadline = monotonic() + seconds
    with suppress(KafkaException, RuntimeError):
        for named in (True, False):
            while bool(client.memberid()) is not named:
                if monotonic() >= deadline:
                    return False
                client.poll(0.01)
            if named:
                client.unsubscribe()
    return True


def close(client: Consumer) -> None:
    """Close a client; never raises."""
    with suppress(Exception):
        client.close()


def _end(client: Consumer, leaving: bool) -> None:
    if leaving:
        leave(client, LONGEST)
    close(client)


class Farewells:
    """Threads in which clients are closed."""

    def __init__(self) -> None:
        #: With when they were begun.
        self._awaited: list[tuple[float, Thread]] = []

    def begin(self, client: Consumer, awaited: bool, leaving: bool = False) -> None:
        """Close a client beside everything else.

        Args:
            awaited: brokers answer, so that it will not take for ever.
            leaving: it has no partitions, and has to `leave` its group first.
        """
        thread = Thread(target=_end, args=(client, leaving), name="kafka-close", daemon=True)
        thread.start()
        if awaited:
            self._awaited = [one for one in self._awaited if one[1].is_alive()]
            self._awaited.append((monotonic(), thread))

    def wait(self, deadline: float) -> None:
        """Until the clients are closed whose brokers answer, or `deadline`."""
        for begun, thread in self._awaited:
            thread.join(max(0.0, min(deadline, begun + LONGEST) - monotonic()))

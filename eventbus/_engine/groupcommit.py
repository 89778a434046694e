"""Concurrent publishers share one round trip.

One of them leads: it sends what all have queued meanwhile. The others wait, each for itself, until
they are told that their records are sent, or that it is their turn to lead. No thread is needed for
that, so it works in an atexit hook too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import zip_longest
from threading import Lock, get_ident, main_thread
from time import monotonic

from .._lock import OwnedLock
from ..errors import TransportUnavailable
from ..transports.base import PartlyStored, Record
from .blame import blames_one, parts

#: Seconds that a turn is waited for at least.
SHORTEST = 0.001

#: Seconds that whoever leads waits for the next one to come: less than any round trip saved.
PATIENCE = 0.0003

#: Sends records until a deadline; the flag is `wait` of `Transport.publish`.
Send = Callable[[Sequence[Record], float, bool], None]


def _free(lock: Lock) -> None:
    with suppress(RuntimeError):  # It is free already.
        lock.release()


class _Ticket:
    """One caller's records, queued for whoever sends next."""

    __slots__ = ("_done", "_passes", "error", "next", "records", "turn")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._done = False
        self.error: Exception | None = None
        #: Who is to be let go after this one.
        self.next: _Ticket | None = None
        # The main thread may have signal handlers to run first, for as long as they like.
        self._passes = get_ident() != main_thread().ident
        #: Free as soon as there is something to look at.
        self.turn = Lock()
        self.turn.acquire()

    def is_done(self) -> bool:
        """Whether the records were sent, well or not: see `error`."""
        return self._done

    def finish(self, error: Exception | None, following: _Ticket | None) -> None:
        """Note what came of it, and who is to be let go after its owner.

        In this order: as soon as it is done, its owner reads the rest.
        """
        self.error = error
        self.next = following
        self._done = True

    def leave(self) -> None:
        """Its owner goes, and lets the next one go."""
        self._passes = False
        if self.next is not None:
            self.next.let_go()

    def let_go(self) -> None:
        """Let its owner go, who lets the next one go, and so on.

        All at once they would only queue up for the interpreter, in everybody's way.
        """
        ticket: _Ticket | None = self
        while ticket is not None:
            ticket.call()
            ticket = None if ticket._passes else ticket.next

    def call(self) -> None:
        """Have its owner look."""
        _free(self.turn)


def _finish(tickets: Sequence[_Ticket], told: Sequence[Exception | None]) -> None:
    """Note what came of each."""
    for ticket, following, error in zip_longest(tickets, tickets[1:], told):
        ticket.finish(error, following)


class GroupCommit:
    """Sends through `send`, one call at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = OwnedLock()
        #: How many shared the last round trip.
        self._latest = 0
        #: How many whoever leads waits for, if it does, and free when they are there.
        self._awaited = 0
        self._complete = Lock()
        self.queue: deque[_Ticket] = deque()

    def send(self, records: Sequence[Record], deadline: float, wait: bool) -> None:
        """Return when they are sent, with what others have queued, or raise what came of it."""
        ticket = _Ticket(records)
        self.queue.append(ticket)
        if 0 < self._awaited <= len(self.queue):
            _free(self._complete)
        if self._lock.mine():  # A signal handler on top of a publish.
            raise self._not_sent(ticket)
        try:
            self._until_done(ticket, deadline, wait)
        except BaseException:
            self._pass_on()  # It may have been our turn.
            raise
        finally:
            ticket.leave()
        if ticket.error is not None:
            raise ticket.error

    def _until_done(self, ticket: _Ticket, deadline: float, wait: bool) -> None:
        called = True
        while not ticket.is_done():
            if not called:
                raise self._not_sent(ticket)
            self._lead_if_nobody_does(ticket, deadline, wait)
            if not ticket.is_done():
                called = ticket.turn.acquire(timeout=max(SHORTEST, deadline - monotonic()))

    def _lead_if_nobody_does(self, ticket: _Ticket, deadline: float, wait: bool) -> None:
        try:
            if self._lock.acquire(blocking=False) and not ticket.is_done():
                self._lead(deadline, wait)
        finally:
            if self._lock.mine():
                self._lock.release()
                self._pass_on()

    def _lead(self, deadline: float, wait: bool) -> None:
        """Send everybody's records, our own among them."""
        self._wait_for_company()
        tickets = self._take()
        self._latest = len(tickets)
        # What stands if a KeyboardInterrupt leaves this in the middle.
        interrupted = TransportUnavailable("interrupted", outcome="unknown")
        told: Sequence[Exception | None] = [interrupted] * len(tickets)
        try:
            told = self._sent(tickets, deadline, wait)
        finally:
            _finish(tickets, told)
            tickets[0].let_go()

    def _sent(
        self, tickets: Sequence[_Ticket], deadline: float, wait: bool
    ) -> Sequence[Exception | None]:
        """What came of each, after one round trip that they share."""
        records = tickets[0].records
        if len(tickets) > 1:
            records = [record for ticket in tickets for record in ticket.records]
        try:
            self._send(records, deadline, wait)
        except PartlyStored as error:
            return parts(error, [len(ticket.records) for ticket in tickets])
        except Exception as error:
            if len(tickets) > 1 and blames_one(error):
                return [self._sent([ticket], deadline, wait)[0] for ticket in tickets]
            return [error] * len(tickets)
        return [None] * len(tickets)

    def _wait_for_company(self) -> None:
        """Whoever came through just now may be about to come again: let them, while they do."""
        self._complete.acquire(blocking=False)
        self._awaited = self._latest
        while (waiting := len(self.queue)) < self._latest:
            told = self._complete.acquire(timeout=PATIENCE)
            if not told and len(self.queue) == waiting:
                break
        self._awaited = 0

    def _take(self) -> list[_Ticket]:
        tickets = []
        while self.queue:
            tickets.append(self.queue.popleft())
        return tickets

    def _pass_on(self) -> None:
        """Let the first of those who wait lead, if nobody else does."""
        with suppress(IndexError):
            self.queue[0].call()

    def _not_sent(self, ticket: _Ticket) -> TransportUnavailable:
        try:
            self.queue.remove(ticket)
        except ValueError:
            return TransportUnavailable("no confirmation in time", outcome="unknown")
        return TransportUnavailable("an earlier publish is still waiting for its confirmation")

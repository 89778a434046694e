"""The members that one consumer loop serves, and what happened to those that are gone."""

from __future__ import annotations

from threading import Lock

from .member import Counters, Member


class Roster:
    """Any thread may add a member; the consumer thread lets them go.

    Args:
        lasting: it stays open when its last member has gone.
    """

    def __init__(self, lasting: bool) -> None:
        self.members: tuple[Member, ...] = ()
        self._lasting = lasting
        self._closed = False
        self._gone = Counters()
        #: Guards all of it, so that nobody is counted twice, or comes to a roster that closes.
        self._lock = Lock()

    def add(self, member: Member) -> bool:
        """`False` if it is closed."""
        with self._lock:
            if not self._closed:
                self.members += (member,)
            return not self._closed

    def let_go(self, member: Member) -> bool:
        """`True` if that was the last one, and the roster is closed."""
        with self._lock:
            self._gone = Counters.total([self._gone, member.counters])
            self.members = tuple(other for other in self.members if other is not member)
            self._closed = not self.members and not self._lasting
            return self._closed

    def counters(self) -> Counters:
        """What has happened to all members that are or were here."""
        with self._lock:
            return Counters.total([self._gone, *(member.counters for member in self.members)])

    # -- how they are ----------------------------------------------------------------------------

    def say_whether_connected(self, connected: bool) -> None:
        for member in self.members:
            if connected and member.state == "connecting":
                member.state = "running"
            elif not connected and member.state == "running":
                member.state = "connecting"

    def session_failed(self, for_good: bool) -> None:
        for member in self.members:
            if member.state not in ("paused", "closed"):
                member.state = "failed" if for_good else "connecting"

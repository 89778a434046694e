"""The consumer thread: it alone talks to the consuming connection.

One turn: take in what the workers finished, settle it, fire retries, renew leases, fetch what
the members have room for, hand it to the dispatcher. Losing the connection ends the session;
`Reconnect` begins a new one from scratch.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import Thread
from time import monotonic, sleep

from ..errors import TransportError
from ..transports.base import (
    Budget,
    Consumer,
    Delivery,
    GroupConsumer,
    Transport,
)
from .attached import Attached
from .binding import Binding
from .breaker import Breaker
from .dispatcher import Dispatcher
from .leaving import Leaving
from .maintenance import Maintenance
from .member import Counters, Member
from .outcomes import Outcomes
from .quarantine import Quarantine
from .reconnect import PERMANENT_ERRORS, Reconnect
from .roster import Roster
from .switch import Switch
from .watchdog import Watchdog

logger = logging.getLogger("eventbus.consumer")

#: Seconds a fetch may wait when nothing is going on here.
IDLE = 1.0
#: Seconds between looks at a full or stuck dispatcher, and while a suspect is to run alone.
TICK = 0.002
PATIENT = 0.02
#: Seconds between two attempts to connect while closing: what is done is worth settling.
RECONNECT_PAUSE = 0.1
#: So many acks are settled at once, without waiting for more.
LARGE = 500
#: Seconds between two looks at events that wait for a worker.
WAITING_CHECK = 0.5


class ConsumerLoop:
    """Serves members over one consuming connection, in a daemon thread of its own.

    Args:
        transport: where to consume.
        dispatcher: who runs the handlers.
        lease: seconds; leases are renewed at each third.
        handler_timeout: seconds after which a handler is reported, or `None`.
        maintenance: done now and then by the thread.
        name: of the thread and in log lines.
        ended: called by the thread when it ends.
        lasting: the thread goes on when its last member has gone.
        grace: seconds for which a cancelled member keeps what peers may not have before it is done.
    """

    def __init__(
        self, transport: Transport, dispatcher: Dispatcher, *, lease: float,
        handler_timeout: float | None, maintenance: Maintenance, name: str,
        ended: Callable[[], None] = lambda: None, lasting: bool = True, grace: float = 0.0,
    ) -> None:
        self._maintenance = maintenance
        self._roster = Roster(lasting)
        self.reconnects = 0
        self._transport = transport
        self._capabilities = transport.capabilities
        self._dispatcher = dispatcher
        self._renewal = lease / 3
        self._name = name
        self._ended = ended
        self._outcomes = Outcomes(transport.capabilities)
        self._quarantine = Quarantine(dispatcher, self._outcomes)
        self._watchdog = Watchdog(dispatcher, handler_timeout)
        self._commands: deque[Callable[[Consumer], None]] = deque()
        self._attached = Attached()
        self._leaving = Leaving(grace)
        self._wakeup = Switch()
        self._interrupt = Switch()
        self._limited = False
        self._settle_at = 0.0
        self._stuck = False
        self._consumer: Consumer | None = None
        #: The same, if it is one of these; found out once, for it takes longer than a turn may.
        self._group: GroupConsumer | None = None
        self._deadlines: list[float] = []
        self._over = False
        self._thread: Thread | None = None
        self.finished = Switch()
        self.drained = False

    # -- any thread ------------------------------------------------------------------------

    def add(self, member: Member) -> bool:
        """Serve a declared member from now on; starts the thread at the first one.

        Returns:
            `False` if this loop ends, or has ended, for want of members.
        """
        if not self._roster.add(member):
            return False
        self._commands.append(lambda consumer: self._attach(consumer, member))
        if self._thread is None:
            self._thread = Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        self.wake()
        return True

    def remove(self, member: Member) -> None:
        """Stop fetching for a member; what has not begun goes back, what runs is settled."""
        member.removed = True
        self._commands.append(lambda consumer: self._detach(consumer, member))
        self.wake()

    def remove_handler(self, member: Member, binding: Binding) -> None:
        """Give back what waits for another attempt of a handler that was cancelled."""
        self._commands.append(lambda _: self._outcomes.hand_back_waiting(member, binding))
        self.wake()

    def drain(self, deadline: float) -> None:
        """Stop fetching, wait for running handlers until `deadline`, settle, disconnect."""
        self.ask_to_drain(deadline)
        self.wake()
        if self._thread is None:
            self.drained = True
            self.finished.set()

    def ask_to_drain(self, deadline: float) -> None:
        """The same without waking the thread: takes no lock, so a signal handler may call it."""
        self._deadlines.append(deadline)
        self._interrupt.set()
        self._wakeup.set()

    def wake(self) -> None:
        """End whatever wait the thread is in."""
        self._wakeup.set()
        consumer = self._consumer
        if consumer is not None:
            consumer.wake()

    def starving(self) -> None:
        """A worker has nothing to do: settle what is done, fetch what there was no room for."""
        urgent = self._limited or any(member.failed for member in self.members)
        if urgent or monotonic() >= self._settle_at:
            self._limited = False
            self.wake()

    def counters(self) -> Counters:
        """What has happened to all members that are or were here."""
        return self._roster.counters()

    @property
    def members(self) -> tuple[Member, ...]:
        """Whom it serves, also those that were cancelled and still have something here."""
        return self._roster.members

    @property
    def in_thread(self) -> Thread | None:
        return self._thread

    # -- sessions ----------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            reconnect = Reconnect(self._name, self._interrupt, self._session_failed)
            while not self._over and not self._expired():
                reconnect.run(self._session)
                if not self._over:
                    self._finish_disconnected()
        finally:
            for member in self.members:
                member.state = "closed"
            self.finished.set()
            self._ended()

    def _finish_disconnected(self) -> None:
        """Draining without a connection: try once more, for acks are worth it."""
        if not self._held() and not self._outcomes.settlement:
            self.drained = self._over = True
            return
        sleep(RECONNECT_PAUSE)
        try:
            self._session()
        except Exception as error:
            logger.debug("%s: still disconnected while closing: %s", self._name, error)

    def _session(self) -> None:
        if not self._capabilities.receipts_survive:
            self._disown()
        # What is done but not settled is ours, too: it must not be handed over once more.
        undone = self._outcomes.settlement
        consumer = self._transport.consumer([*self._held(), *undone.acks, *undone.releases])
        group = self._group = consumer if isinstance(consumer, GroupConsumer) else None
        if group is not None:
            group.surrender = lambda concerned, seconds: self._surrender(group, concerned, seconds)
        self._consumer = consumer
        self._attached.clear()
        self._leaving.clear()
        try:
            for member in self.members:
                self._attach(consumer, member)
            self._serve(consumer)
        finally:
            self._consumer = None
            consumer.close()

    def _session_failed(self, error: Exception) -> None:
        self.reconnects += 1
        self._roster.session_failed(isinstance(error, PERMANENT_ERRORS))

    def _attach(self, consumer: Consumer, member: Member) -> None:
        if member.removed or member in self._attached:
            return
        # From now on: a dropped subscription is not to replay what it had settled long ago.
        if self._transport.declare(member.id, "latest"):
            member.counters.topology_lost += 1
            logger.warning(
                "%s had vanished from the broker and was created again: events that the broker "
                "has lost with it are lost", member.label,
            )
        self._attached.add(consumer, member)
        if member.state != "paused":
            member.state = "running"

    def _detach(self, consumer: Consumer, member: Member) -> None:
        self._hand_back(member)
        member.state = "closed"
        if member in self._attached and self._capabilities.cross_process_order:
            self._leaving.add(member)
        else:
            self._part(consumer, member)
        # At once: a successor must not fetch what comes behind it first.
        self._settle(consumer)

    def _part(self, consumer: Consumer, member: Member) -> None:
        others = (one for one in self.members if not one.removed or one in self._leaving)
        self._attached.remove(consumer, member, others)

    def _part_from_those_who_leave(self, consumer: Consumer) -> None:
        for member in self._leaving.take():
            self._settle(consumer)
            self._part(consumer, member)

    def _disown(self) -> None:
        for member in self.members:
            member.disown()
        self._quarantine.disown()
        self._outcomes.take()

    # -- one session -------------------------------------------------------------------------

    def _serve(self, consumer: Consumer) -> None:
        renew_at = monotonic() + self._renewal
        check_at = 0.0
        draining = False
        while True:
            while self._commands:
                self._commands.popleft()(consumer)
            if self._deadlines and not draining:
                draining = True
                self._begin_draining()
            self._collect()
            now = monotonic()
            self._outcomes.fire(now)
            self._dispatcher.start()
            if now >= renew_at:
                renew_at = now + self._renewal
                self._keepalive(consumer)
            if now >= check_at:
                check_at = now + WAITING_CHECK
                self._check_waiting()
                self._maintenance.run_if_due()
            if self._quarantine:
                self._quarantine.step(consumer, self._settle)
            if self._leaving:
                self._part_from_those_who_leave(consumer)
            if self._over:
                self._settle(consumer)
                return
            if self._must_settle(now) or draining:
                self._settle(consumer)
                self._settle_at = now + self._capabilities.settle_interval
            if draining and (self._expired() or not self._held()):
                self._end(consumer)
                return
            if draining:
                self._leave(consumer)
            self._fetch(consumer, self._timeout(now, renew_at, draining), draining)

    def _begin_draining(self) -> None:
        self._outcomes.draining = True
        for member in self.members:
            member.close()
            self._outcomes.take_back(member)
        self._quarantine.release()
        self._outcomes.hand_back_waiting()

    def _leave(self, consumer: Consumer) -> None:
        """What comes from now on is for peers, however long handlers still run here.

        After what had not begun was given back, so that it is in front of what comes back now. A
        broker that keeps the order of keys across processes gives peers nothing before they end.
        """
        if not self._capabilities.cross_process_order:
            self._attached.remove_all(consumer)

    def _end(self, consumer: Consumer) -> None:
        self._collect()
        for member in self.members:
            self._outcomes.release(member, member.given_up(all_of_it=True))
        self._settle(consumer)
        self.drained = not self._held()
        self._over = True

    def _collect(self) -> None:
        for member in self.members:
            if member.finished:
                self._outcomes.collect(member)
            self._outcomes.release(member, member.given_up())
            if member.must_hand_back:
                member.must_hand_back = False
                self._hand_back(member)
            gone = member.removed and member.state == "closed" and not self._concerns(member)
            if gone and self._roster.let_go(member):
                self.drained = self._over = True

    def _concerns(self, member: Member) -> bool:
        """Whether anything of it still goes on here."""
        return bool(member.in_flight or member.finished) or member in self._attached

    def _hand_back(self, member: Member) -> None:
        self._outcomes.take_back(member)
        self._quarantine.release(member)
        self._outcomes.hand_back_waiting(member)

    def _must_settle(self, now: float) -> bool:
        settlement = self._outcomes.settlement
        # What is given back: before anything is fetched that comes behind it.
        at_once = settlement.releases or len(settlement.acks) >= LARGE
        return bool(settlement) and (bool(at_once) or now >= self._settle_at)

    def _settle(self, consumer: Consumer) -> None:
        settlement = self._outcomes.take()
        if not settlement:
            return
        try:
            lost = consumer.settle(settlement)
        except TransportError:
            if self._capabilities.receipts_survive:
                self._outcomes.settlement = settlement
            raise
        for delivery in lost:
            self._lose(delivery)

    def _keepalive(self, consumer: Consumer) -> None:
        # First, so that what is finished is not taken for what is let go.
        self._settle(consumer)
        held = [d for d in self._held() if d.receipt is not None]
        if held:
            for delivery in consumer.keepalive(self._watchdog.worth_renewing(held)):
                self._lose(delivery)

    def _lose(self, delivery: Delivery) -> None:
        if delivery.receipt is None:
            return
        delivery.receipt = None
        for member in self.members:
            if delivery in member.in_flight:
                member.counters.leases_lost += 1
                logger.warning(
                    "%s: the lease of an event was lost, a peer has it now; the outcome of its "
                    "handler here will be ignored", member.label,
                )

    def _surrender(
        self, consumer: Consumer, concerned: Callable[[Delivery], bool], seconds: float
    ) -> None:
        """The broker takes some events away: finish them, as far as they have begun."""
        deadline = monotonic() + seconds
        draining, self._outcomes.draining = self._outcomes.draining, True
        try:
            for member in self.members:
                self._hand_back(member)
            while True:
                self._collect()
                if not any(map(concerned, self._held())) or monotonic() >= deadline:
                    break
                self._wakeup.wait(TICK)
            self._settle(consumer)
        finally:
            self._outcomes.draining = draining

    def _held(self) -> list[Delivery]:
        return [delivery for member in self.members for delivery in member.in_flight]

    def _check_waiting(self) -> None:
        self._watchdog.check()
        stuck = self._stuck = not self._watchdog.progressing()
        for member in self.members:
            waited = member.oldest_wait()
            member.window.waited(waited)
            if stuck and waited > self._renewal:
                # All workers are stuck: a peer can begin what waits here.
                self._outcomes.take_back(member)

    # -- fetching ----------------------------------------------------------------------------

    def _timeout(self, now: float, renew_at: float, draining: bool) -> float:
        if draining or self._dispatcher.tick():
            return TICK
        if self._quarantine:
            return PATIENT
        if self._outcomes.settlement:
            longest = max(0.0, self._settle_at - now)
        elif any(m.finished or m.in_flight for m in self.members):
            longest = self._capabilities.settle_interval / 2
        else:
            longest = IDLE
        due = self._outcomes.timers.next_due()
        if due is not None:
            longest = min(longest, due - now)
        return max(0.0, min(longest, renew_at - now))

    def _fetch(self, consumer: Consumer, timeout: float, draining: bool) -> None:
        self._wakeup.clear()
        # Set before the budgets are made: a worker that starves from here on ends the wait.
        self._limited = True
        asking = {} if draining else self._budgets()
        # When all members wait for events already, it would end it for nothing.
        self._limited = any(m not in asking for m in self.members if m.may_fetch)
        if self._commands or (self._deadlines and not draining):
            return
        if self._group is not None:
            self._roster.say_whether_connected(self._group.connected)
        if not asking:
            if self._group is not None:
                self._group.serve()
            self._wakeup.wait(timeout)
            return
        # One that is cancelled meanwhile gives them back, in front of what its successor fetches.
        members = {member.id: member for member in asking}
        fetched = consumer.fetch({id: asking[m] for id, m in members.items()}, timeout)
        now = monotonic()
        for member in asking:
            member.last_fetch = now
        for id, deliveries in fetched:
            self._admit(members[id], deliveries, asking[members[id]].events)
        if fetched:
            # Workers that were woken can begin now, not only when this thread waits again.
            sleep(0)

    def _budgets(self) -> dict[Member, Budget]:
        budgets: dict[Member, Budget] = {}
        idle = self._dispatcher.idle
        if self._quarantine or (self._stuck and not idle):
            return budgets
        for member in self.members:
            if not member.may_fetch:
                continue
            budget = member.budget(idle)
            if budget.events > 0:
                budget = budget._replace(events=min(budget.events, Breaker.may_fetch(member)))
            if budget.events > 0:
                budgets[member] = budget
        return budgets

    def _admit(self, member: Member, deliveries: list[Delivery], asked: int) -> None:
        member.window.fetched(len(deliveries), asked)
        unwanted = member.admit(self._quarantine.admit(member, deliveries))
        if unwanted:
            self._outcomes.unwanted(member, unwanted)
        if self._quarantine:
            # What has not begun is not to be there when a suspect kills the process.
            for other in self.members:
                self._outcomes.take_back(other)
        self._dispatcher.start()

    def _expired(self) -> bool:
        return monotonic() >= min(self._deadlines, default=float("inf"))

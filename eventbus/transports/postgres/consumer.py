"""The consuming side: one connection to look, claim, settle, and hear of news."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from time import monotonic

from ...patterns import matcher
from ..base import Budget, Delivery, Settlement, SubscriptionId
from . import leases
from .bell import Bell
from .claims import Claimed, Claims
from .holding import Holding
from .leases import InboxReceipt, Lease, LogReceipt
from .link import Link
from .looks import Looks
from .settling import Settling, insert_free
from .shortcut import Shortcut
from .tables import Tables

#: Seconds between two looks at the log for a while after anything happened.
FAST = 0.002
#: Seconds of that while: longer than publishers wait between two announcements.
ACTIVE = 0.3
#: Seconds between two looks when nothing happens: with somebody to announce news, and behind a
#: pooler, which lets nobody listen.
SLOW, POOLED = 0.25, 0.05
#: Seconds between two looks for freed and lapsed leases and for parked events that are due.
RECHECK = 0.5
#: Seconds between two looks for cursors that nothing has moved.
MOVE_ON = 5.0


class PostgresConsumer:
    """Claims, settles and renews in the name of one owner.

    Args:
        link: this consumer's own.
        tables: where.
        owner: in whose name.
        lease: seconds.
        held: deliveries of an earlier session whose handlers still run.
        maintain: called now and then, to clean up.
    """

    def __init__(
        self, link: Link, tables: Tables, owner: str, lease: float,
        held: Collection[Delivery],
    ) -> None:
        self._link = link
        self._tables = tables
        self._owner = owner
        self._lease = lease
        self._holding = Holding(tables, owner, lease)
        self._claims = Claims(tables, owner, lease, self._holding)
        self._shortcut = Shortcut(self._claims, self._holding)
        self._looks = Looks(tables, owner)
        self._attached: set[SubscriptionId] = set()
        #: For which the log, or what others have left, is worth a claim.
        self._news: set[SubscriptionId] = set()
        self._left: set[SubscriptionId] = set()
        self._look_at = self._recheck_at = 0.0
        self._move_on_at = monotonic() + MOVE_ON
        self._active_until = 0.0
        self._bell = Bell(link)
        try:
            link.connect()
            if not link.pooled:
                self._bell.listen(tables.channel)
            self._adopt(held)
        except BaseException:
            self.close()
            raise

    def _adopt(self, held: Collection[Delivery]) -> None:
        """Agree with the tables on what is ours: an answer may have been lost with a session."""
        ours: dict[int, Lease] = {}
        kept: dict[int, set[int]] = {}
        entries = []
        for delivery in held:
            receipt = delivery.receipt
            if isinstance(receipt, LogReceipt):
                ours[receipt.lease.id] = receipt.lease
                kept.setdefault(receipt.lease.id, set()).add(receipt.id)
            elif isinstance(receipt, InboxReceipt):
                entries.append(receipt.id)
        with self._link.transaction():
            self._adopt_leases(ours, kept)
            self._link.run(
                f"UPDATE {self._tables.inbox} SET owner = NULL"
                " WHERE owner = %s AND id <> ALL(%s::bigint[])", [self._owner, entries],
            )

    def _adopt_leases(self, ours: dict[int, Lease], kept: dict[int, set[int]]) -> None:
        rows = self._link.rows(
            f"SELECT id, held FROM {self._tables.lease} WHERE owner = %s FOR UPDATE", [self._owner]
        )
        found = {id: leases.unpack(held) for id, held in rows}
        for id, lease in ours.items():
            lease.held = {p.id: p.xid for p in found.pop(id, [])}
            unknown = lease.held.keys() - kept[id]
            if unknown:
                self._split(lease, unknown, None)
        # Claimed, but the answer never came.
        self._link.run(
            f"UPDATE {self._tables.lease} SET owner = NULL WHERE id = ANY(%s::bigint[])",
            [list(found)],
        )

    def _split(self, lease: Lease, ids: Collection[int], owner: str | None) -> None:
        """Make a lease of its own of a part, in somebody else's name or in nobody's."""
        gone = set(ids)
        insert_free(self._link, self._tables, lease, gone, owner)
        self._holding.shrink(self._link, {lease: gone})
        lease.held = {id: xid for id, xid in lease.held.items() if id not in gone}

    def attach(self, subscription: SubscriptionId) -> None:
        self._attached.add(subscription)
        self._news.add(subscription)
        self._left.add(subscription)

    def detach(self, subscription: SubscriptionId) -> None:
        for ids in (self._attached, self._news, self._left):
            ids.discard(subscription)
        self._shortcut.forget(subscription)

    # -- fetching ----------------------------------------------------------------------------

    def fetch(
        self, budgets: Mapping[SubscriptionId, Budget], timeout: float
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        deadline = monotonic() + timeout
        while True:
            self._look(budgets)
            fetched = self._claim(budgets)
            now = monotonic()
            if fetched:
                self._active_until = now + ACTIVE
            if fetched or now >= deadline:
                return fetched
            if not self._bell.wait(min(self._pause(now), deadline - now)):
                return fetched

    def _pause(self, now: float) -> float:
        """Seconds until the next look, if nobody announces anything."""
        next_ = min(self._look_at, self._recheck_at)
        return max(0.0, next_ - now)

    def _look(self, budgets: Mapping[SubscriptionId, Budget]) -> None:
        now = monotonic()
        if heard := self._bell.news():
            self._hear(heard, now)
        if now >= self._recheck_at:
            self._recheck_at = now + min(RECHECK, self._lease / 5)
            self._recheck(now)
        if now >= self._look_at:
            unknown = [id for id in budgets if id in self._attached and id not in self._news]
            if len(unknown) == 1 and self._shortcut.knows(unknown[0]):
                # Reading takes no longer than a look, and a look would come on top of it.
                self._news.add(unknown[0])
            elif unknown:
                self._news |= self._looks.log(self._link, unknown)
            idle = POOLED if self._link.pooled else SLOW
            self._look_at = now + (FAST if now < self._active_until else idle)

    def _hear(self, topics: list[str], now: float) -> None:
        for id in self._attached:
            matches = matcher(id.pattern)
            if any(not topic or matches(topic) for topic in topics):
                self._news.add(id)
                self._active_until = now + ACTIVE
                self._look_at = min(self._look_at, now + FAST)

    def _recheck(self, now: float) -> None:
        self._looks.free_the_lapsed(self._link)
        if self._attached:
            self._left |= self._looks.left(self._link, self._attached)
        if now >= self._move_on_at and self._attached:
            self._move_on_at = now + MOVE_ON
            for id in self._looks.behind(self._link, self._attached):
                self._news.add(id)
                # The short way does not move a cursor for nothing.
                self._shortcut.forget(id)

    def _claim(
        self, budgets: Mapping[SubscriptionId, Budget]
    ) -> list[tuple[SubscriptionId, list[Delivery]]]:
        fetched = []
        for id, budget in budgets.items():
            if id not in self._news and id not in self._left:
                continue
            claimed = self._claim_one(id, budget)
            if not claimed.more:
                self._news.discard(id)
            if not claimed.more_left:
                self._left.discard(id)
            if claimed.deliveries:
                fetched.append((id, claimed.deliveries))
        return fetched

    def _claim_one(self, id: SubscriptionId, budget: Budget) -> Claimed:
        left = id in self._left
        claimed = None if left else self._shortcut.claim(self._link, id, budget)
        if claimed is None:
            claimed = self._claims.claim(self._link, id, budget, left)
            if not self._link.pooled:
                self._shortcut.learn(claimed.subscription)
        return claimed

    # -- settling ----------------------------------------------------------------------------

    def settle(self, settlement: Settlement) -> Collection[Delivery]:
        # Else what has succeeded would be repeated after a crash of the server. Where more waits to
        # be claimed, the next claim waits for the disk in a moment, and for this settlement, too.
        durably = not (self._news or self._left)
        settling = Settling(self._link, self._tables, self._owner, self._holding)
        if not settling.write_whole(settlement, durably):
            with self._link.transaction():
                settling.write(settlement)
                if durably:
                    self._link.commit_durably()
        settling.finish()
        if settlement.releases or settlement.parked:
            self._left |= self._attached
        return settling.lost

    def keepalive(self, held: Collection[Delivery]) -> Collection[Delivery]:
        kept: dict[Lease, set[int]] = {}
        entries = []
        for delivery in held:
            receipt = delivery.receipt
            if isinstance(receipt, LogReceipt):
                kept.setdefault(receipt.lease, set()).add(receipt.id)
            elif isinstance(receipt, InboxReceipt):
                entries.append(receipt.id)
        with self._link.transaction():
            alive = self._renew(self._tables.lease, [lease.id for lease in kept])
            alive_entries = self._renew(self._tables.inbox, entries)
            for lease, ids in kept.items():
                self._let_go(lease, lease.held.keys() - ids, alive)
        return [d for d in held if not _alive(d, alive, alive_entries)]

    def _renew(self, table: str, ids: list[int]) -> set[int]:
        if not ids:
            return set()
        rows = self._link.rows(
            f"UPDATE {table} SET until = now() + %s * interval '1 second'"
            " WHERE id = ANY(%s) AND owner = %s RETURNING id", [self._lease, ids, self._owner],
        )
        return {id for (id,) in rows}

    def _let_go(self, lease: Lease, ids: Iterable[int], alive: set[int]) -> None:
        gone = set(ids)
        if gone and lease.id in alive:
            # Nobody renews that name: a peer has them when the lease ends.
            self._split(lease, gone, f"{self._owner} until the lease ends")

    def mark_started(self, delivery: Delivery) -> None:
        receipt = delivery.receipt
        with self._link.transaction():
            self._link.commit_durably()
            if isinstance(receipt, LogReceipt):
                self._link.run(
                    f"UPDATE {self._tables.lease} SET started = %s WHERE id = %s AND owner = %s",
                    [receipt.id, receipt.lease.id, self._owner],
                )
            else:
                self._link.run(
                    f"UPDATE {self._tables.inbox} SET started = true"
                    " WHERE id = %s AND owner = %s", [receipt.id, self._owner],
                )

    def wake(self) -> None:
        self._bell.wake()

    def close(self) -> None:
        self._bell.close()
        self._link.close()


def _alive(delivery: Delivery, leases: set[int], entries: set[int]) -> bool:
    receipt = delivery.receipt
    if isinstance(receipt, LogReceipt):
        return receipt.lease.id in leases and receipt.id in receipt.lease.held
    return isinstance(receipt, InboxReceipt) and receipt.id in entries

"""Notices a client that reads no more from a partition in which there is more.

After an outage one may wait for ever to hear whether its position is still right (librdkafka 2.16).
It says nothing, so where it has got to is compared with where its partitions end, now and then.
"""

from __future__ import annotations

from collections.abc import Mapping

from .offsets import Place


class Standstill:
    """Watches over one client.

    Args:
        patience: seconds of waiting for messages in which those that are known to be there must
            come.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        #: Positions with something behind them, and what `dry` was when that was seen.
        self._behind: dict[Place, tuple[int, float]] = {}
        #: Seconds that were waited for messages in vain. Time alone says nothing: a member with
        #: its hands full asks for none, and a client that was paused begins to fetch anew.
        self.dry = 0.0
        #: The partition that stands still.
        self.found: Place | None = None

    def compare(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """Where the client goes on reading, and where partitions end, as far as that is known."""
        before, dry = self._behind, self.dry
        self._behind = {}
        for place, position in positions.items():
            if position >= ends.get(place, 0):
                continue
            known = before.get(place)
            since = known[1] if known is not None and known[0] == position else dry
            self._behind[place] = position, since
            if dry - since >= self._patience:
                self.found = place

"""What the harness can do to a broker. A server transport joins with one of these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol


class Broker(Protocol):
    """A server under test. Each method returns when it is done; none waits for clients."""

    name: ClassVar[str]

    def start(self) -> None:
        """Start it, and return when it serves."""

    def stop(self) -> None:
        """End it the way an administrator would."""

    def kill(self) -> None:
        """SIGKILL it, with all its processes."""

    def restart(self) -> None:
        """`stop` and `start`."""

    def pause(self) -> None:
        """SIGSTOP it: connections stay open, nothing is answered."""

    def resume(self) -> None:
        """SIGCONT it."""

    def wipe(self) -> None:
        """Kill it, and start it again with nothing in it."""

    def complaints(self) -> list[str]:
        """The latest errors and warnings in its log."""


class Place(NamedTuple):
    """Where a run takes place.

    Attributes:
        url: of the transport.
        broker: its server; `None` where there is none to break (SQLite).
    """

    url: str
    broker: Broker | None = None


#: Seconds by which a server stores who has an event, and what is acked, later than events: once it
#: was killed it knows nothing of the last ones, and what then began with them may begin again.
FORGETS = {"nats": 1.0}


def sqlite(folder: Path) -> Place:
    return Place(f"sqlite:///{folder / 'events.db'}")


#: By transport: a fresh place for one run, given a folder of its own.
PLACES: dict[str, Callable[[Path], Place]] = {"sqlite": sqlite}

"""Cleaning up behind the bus, now and then, in whichever process publishes or consumes."""

from __future__ import annotations

import logging
from threading import Lock
from time import monotonic

from ..errors import ConfigurationError, TransportError
from ..transports.base import Transport

logger = logging.getLogger("eventbus.transport")

#: Seconds between two clean-ups of one process: retention is counted in days.
INTERVAL = 60.0
#: Seconds until the next one where the last has left something to be removed.
HURRY = 0.5


class Maintenance:
    """Calls `Transport.maintain` when it is due. Any thread may look; one at a time cleans."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = Lock()
        # Not at once: a script that publishes one event is not kept waiting.
        self._due_at = monotonic() + INTERVAL

    def run_if_due(self) -> None:
        """Clean up, if it is time; a failure is logged and waits for the next time."""
        if monotonic() < self._due_at or not self._lock.acquire(blocking=False):
            return
        try:
            self._due_at = monotonic() + INTERVAL
            if self._transport.maintain():
                self._due_at = monotonic() + HURRY
        except (TransportError, ConfigurationError) as error:
            logger.info("cleaning up has failed, and is tried again later: %s", error)
        finally:
            self._lock.release()

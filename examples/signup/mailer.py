"""Sends the welcome mail: a file in an outbox folder.

Events may come twice, so the handler is idempotent: one file per user, replaced in one step.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import lifeline
from journal import Journal

from eventbus import Event, EventBus


def main() -> None:
    lifeline.hold()
    url, folder, journal_path = sys.argv[1:4]
    outbox, journal = Path(folder), Journal(journal_path)
    # A server does not see that a process was killed: its events come back when the lease ends.
    bus = EventBus(url, group="mailer", environ={}, lease=5.0)

    @bus.on("user.created")
    def welcome(event: Event) -> None:
        time.sleep(0.005)  # What a mail server takes.
        mail = outbox / f"{event.payload['id']}.txt"
        draft = mail.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(f"To: {event.payload['email']}\n\nWelcome!\n")
        os.replace(draft, mail)
        journal.handled(event)

    bus.start()
    print("ready", flush=True)
    bus.run()


if __name__ == "__main__":
    main()

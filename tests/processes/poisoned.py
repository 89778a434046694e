"""A member whose handler ends the process for some payloads; journals what begins and ends."""

import os
import sys

from eventbus import Event, EventBus


def main() -> None:
    url, journal_path, poison, second = sys.argv[1:5]
    journal = os.open(journal_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def handle(event: Event) -> None:
        os.write(journal, f"start {event.payload} {os.getpid()} handle\n".encode())
        if str(event.payload) in poison.split(","):
            os._exit(1)
        os.write(journal, f"ok {event.payload} {os.getpid()} handle\n".encode())

    def other(event: Event) -> None:
        os.write(journal, f"ok {event.payload} {os.getpid()} other\n".encode())

    bus = EventBus(url, group="workers", environ={}, max_concurrent_handlers=8)
    bus.on("job", handle, name="handle")
    if second == "second":
        bus.on("job", other, name="other")
    bus.run()


if __name__ == "__main__":
    main()

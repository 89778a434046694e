"""A member of a consumer group, as its own process: journals each step with one atomic write."""

import argparse
import os
import time

from eventbus import Event, EventBus


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--group", default="workers")
    parser.add_argument("--pattern", default="job.*")
    parser.add_argument("--journal", required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--lease", type=float, default=30.0)
    options = parser.parse_args()
    journal = os.open(options.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(step: str, event: Event) -> None:
        line = f"{step} {event.payload} {os.getpid()} {time.monotonic():.6f} {event.type}\n"
        os.write(journal, line.encode())

    def handle(event: Event) -> None:
        note("start", event)
        time.sleep(options.seconds)
        note("ok", event)

    bus = EventBus(
        options.url, group=options.group, environ={}, lease=options.lease,
        max_concurrent_handlers=8,
    )
    bus.on(options.pattern, handle, name="handle")
    bus.start()
    print("ready", flush=True)
    bus.run()


if __name__ == "__main__":
    main()

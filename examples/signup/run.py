"""Sign-ups through HTTP, two consumer groups, one of them killed three times, nothing lost.

Exits with 1 if an event was lost or a process failed, with 2 if it was started in a wrong way.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

import journal
import report
from stage import Failed, Stage

from eventbus import ConfigurationError, EventBus
from eventbus.transports import capabilities

#: Seconds in which both groups must have everything once the last sign-up is answered.
PATIENCE = 30.0
CLIENTS = 4
#: Where the mailer is killed, in parts of the sign-ups.
KILLS = (0.25, 0.5, 0.75)


def sign_up(port: int, users: range) -> list[str]:
    """Sign users up over one connection; return the ids of the confirmed events."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        return [_sign_up(connection, user) for user in users]


def _sign_up(connection: http.client.HTTPConnection, user: int) -> str:
    body = json.dumps({"id": user, "email": f"user{user}@example.com"})
    try:
        connection.request("POST", "/signup", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"sign-up {user} got no answer: {error}") from error
    if response.status != 201:
        raise Failed(f"sign-up {user} failed with status {response.status}: {answer}")
    event: str = json.loads(answer)["event"]
    return event


def result(answers: Future[list[str]], stage: Stage) -> list[str]:
    """Wait for one client's ids; raise `Failed` at once when there will be none."""
    # In short steps: a signal that arrives just before a wait is not dealt with until its end.
    while not wait([answers], timeout=0.1).done:
        stage.check()
    return answers.result()


def drive(stage: Stage, clients: ThreadPoolExecutor, signups: int) -> set[str]:
    """Run all sign-ups and kill the mailer in between; return the ids of their events."""
    stage.start_groups()
    port = stage.start_app()
    published: set[str] = set()
    begin = 0
    for end in [*(int(signups * part) for part in KILLS), signups]:
        shares = [range(begin + n, end, CLIENTS) for n in range(CLIENTS)]
        for answers in [clients.submit(sign_up, port, share) for share in shares]:
            published.update(result(answers, stage))
        begin = end
        if end < signups:
            stage.kill_and_restart_mailer()
            print(f"{end:>6} sign-ups: mailer killed and started again", flush=True)
    return published


def wait_until_handled(stage: Stage, published: set[str]) -> None:
    """Return when both groups have everything, or patience is over."""
    deadline = time.monotonic() + PATIENCE
    for path in stage.journals.values():
        while not published <= {entry.event_id for entry in journal.read(path)}:
            if time.monotonic() >= deadline:
                return
            stage.wait(0.05)


def play(stage: Stage, signups: int) -> int:
    """The whole demo; return how many events or mails were lost."""
    # The stage ends first: requests that are under way then fail instead of being waited for.
    with ThreadPoolExecutor(CLIENTS) as clients, stage:
        published = drive(stage, clients, signups)
        wait_until_handled(stage, published)
        lost = report.table(stage.journals, published)
        mails = len(list(stage.mails.glob("*.txt")))
        print(f"{mails} mails in the outbox for {signups} users")
        return lost + max(0, signups - mails)


def check_url(url: str) -> None:
    """Raise ConfigurationError where processes could not share the events."""
    with EventBus(url, group="signup", environ={}) as bus:
        provider = str(bus.config.provider)
    if not capabilities(provider).multi_process:
        raise ConfigurationError(
            f"the demo runs in several processes, but {provider} lives inside one: use a URL "
            "such as sqlite:///events.db"
        )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="where the events go; a fresh SQLite file by default")
    parser.add_argument("--signups", type=int, default=2000)
    options = parser.parse_args(arguments)
    if options.signups < 1:
        parser.error(f"--signups must be at least 1, not {options.signups}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="eventbus-demo-") as folder:
        stage = Stage(options.url or f"sqlite:///{folder}/events.db", Path(folder))
        stage.end_on(signal.SIGTERM, signal.SIGINT)
        try:
            check_url(stage.url)
            lost = play(stage, options.signups)
        except (ConfigurationError, Failed) as error:
            if stage.signal is not None:
                return 128 + stage.signal
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, ConfigurationError) else 1
    print(f"done in {time.monotonic() - started:.1f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

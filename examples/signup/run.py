"""Sign-ups through HTTP, two consumer groups, one of them killed three times, nothing lost.

Exits with 1 if an event was lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import journal

HERE = Path(__file__).parent
#: Seconds in which both groups must have everything once the last sign-up is answered.
PATIENCE = 30.0
CLIENTS = 4
#: Where the mailer is killed, in parts of the sign-ups.
KILLS = (0.25, 0.5, 0.75)


class Stage:
    """The processes of the demo; all are gone at the end, whatever happens."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.mails = folder / "outbox"
        self.journals = {"mailer": folder / "mailer.journal", "audit": folder / "audit.journal"}
        self.mails.mkdir()
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._running:
            process.kill()
            process.wait()

    def mailer(self) -> subprocess.Popen[str]:
        return self._start("mailer.py", str(self.mails), str(self.journals["mailer"]))[0]

    def audit(self) -> subprocess.Popen[str]:
        return self._start("audit.py", str(self.journals["audit"]))[0]

    def app(self) -> int:
        return int(self._start("app.py")[1])

    def _start(self, script: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / script), self.url, *arguments],
            stdout=subprocess.PIPE, text=True,
        )
        self._running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{script} did not start; see its error above")
        return process, line.strip()


def sign_up(port: int, users: range) -> list[str]:
    """Sign users up over one connection; return the ids of the confirmed events."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    ids = []
    for user in users:
        body = json.dumps({"id": user, "email": f"user{user}@example.com"})
        connection.request("POST", "/signup", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 201:
            raise SystemExit(f"sign-up {user} failed: {answer}")
        ids.append(answer["event"])
    connection.close()
    return ids


def drive(stage: Stage, signups: int) -> list[str]:
    """Run all sign-ups and kill the mailer in between."""
    stage.audit()
    mailer = stage.mailer()
    port = stage.app()
    published: list[str] = []
    ends = [int(signups * part) for part in KILLS] + [signups]
    begin = 0
    with ThreadPoolExecutor(CLIENTS) as clients:
        for end in ends:
            shares = [range(begin + n, end, CLIENTS) for n in range(CLIENTS)]
            for ids in clients.map(sign_up, [port] * CLIENTS, shares):
                published += ids
            begin = end
            if end < signups:
                mailer.kill()
                mailer.wait()
                print(f"{end:>6} sign-ups: mailer killed and started again", flush=True)
                mailer = stage.mailer()
    return published


def wait_until_handled(stage: Stage, published: list[str]) -> None:
    """Return when both groups have everything, or patience is over."""
    deadline = time.monotonic() + PATIENCE
    wanted = set(published)
    for path in stage.journals.values():
        while not wanted <= {entry.event_id for entry in journal.read(path)}:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.05)


def report(stage: Stage, published: list[str]) -> int:
    """Print the table and return how many events were lost."""
    head = ("group", "published", "handled", "duplicates", "lost", "p50 ms", "p99 ms")
    print(" ".join(f"{name:>10}" for name in head))
    lost = 0
    for group, path in stage.journals.items():
        entries = journal.read(path)
        first: dict[str, float] = {}
        for entry in entries:
            first.setdefault(entry.event_id, entry.latency)
        missing = len(set(published) - first.keys())
        cuts = statistics.quantiles([1000 * s for s in first.values()] or [0.0, 0.0], n=100)
        row = (group, len(published), len(first), len(entries) - len(first), missing)
        print(" ".join(f"{cell:>10}" for cell in (*row, f"{cuts[49]:.1f}", f"{cuts[98]:.1f}")))
        lost += missing
    mails = len(list(stage.mails.glob("*.txt")))
    print(f"{mails} mails in the outbox for {len(published)} users")
    return lost + (len(published) - mails)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="where the events go; a fresh SQLite file by default")
    parser.add_argument("--signups", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eventbus-demo-") as folder:
        url = options.url or f"sqlite:///{folder}/events.db"
        started = time.monotonic()
        with Stage(url, Path(folder)) as stage:
            published = drive(stage, options.signups)
            wait_until_handled(stage, published)
            lost = report(stage, published)
        print(f"done in {time.monotonic() - started:.1f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Takes the place of `docker`: its containers are plain processes, and it knows Redis only.

What the real engine does with the same words is not shown by it; that our side says the right
words in the right order is.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, os.environ["FAKE_DOCKER_SERVICES"])

from services import Redis

home = Path(os.environ["FAKE_DOCKER_HOME"])
paused = home / "paused"
#: With it, containers end as soon as they have started.
broken = home / "broken"
#: With it, volumes cannot be removed.
busy = home / "busy"
with (home / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\n")

words = sys.argv[1:]
if words[0] == "compose" and words[1] == "--project-name":
    # compose --project-name NAME --file FILE VERB …
    words = words[5:]
server = Redis(home / "redis")


def create() -> None:
    if not (home / "redis" / "state.json").exists():
        (home / "redis").mkdir()
        ports = {"ports": {"main": int(os.environ["REDIS_PORT"])}}
        (home / "redis" / "state.json").write_text(json.dumps(ports))


def need(condition: bool, trouble: str) -> None:
    if not condition:
        sys.exit(trouble)


verb = words[0]
if verb == "create":
    # What neither runs nor stands still is started.
    need(not paused.exists(), "cannot start a paused container, try unpause instead")
    create()
elif verb == "start":
    need(not paused.exists(), "cannot start a paused container, try unpause instead")
    if not broken.exists():
        server.start()
elif verb in ("stop", "kill"):
    need(not paused.exists(), "container is paused")
    getattr(server, verb)()
elif verb == "pause":
    need(not paused.exists(), "container is already paused")
    if server.running:
        server.pause()
        paused.touch()
elif verb == "unpause":
    server.resume()
    paused.unlink(missing_ok=True)
elif verb == "ps":
    status = "paused" if paused.exists() else "running" if server.running else "exited"
    asked = [after for word, after in pairwise(words) if word == "--status"]
    print("0123" if status in asked else "")
elif verb == "logs":
    print("what the server said")
elif verb == "rm":
    pass  # without a word about those that run
elif verb == "volume":
    need(not busy.exists() and not server.running, "volume is in use")
    server.erase()

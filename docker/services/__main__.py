"""The command line behind `make services`, `make services-down` and `make services-env`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from .errors import ServerError
from .shared import NAMES, address, handle, own


def up(name: str) -> str:
    """Start it; what is printed about it."""
    server = handle(name)
    if not own(name):
        return f"{address(name, hidden=True)} (from {server.variable})"
    found = server.is_ready()
    began = time.monotonic()
    server.start()
    how = "was running" if found else f"ready after {time.monotonic() - began:.2f} s"
    return f"{address(name, hidden=True)} ({server.version()}, {how})"


def down(name: str) -> str:
    """Stop it, keep its data; what is printed about it."""
    server = handle(name)
    if not server.running:
        return "was not running"
    began = time.monotonic()
    server.stop()
    return f"stopped after {time.monotonic() - began:.2f} s"


def env(name: str) -> str:
    """A line for a shell."""
    server = handle(name)
    if own(name) and not server.running:
        raise ServerError(f"{name} does not run; `make services` starts it")
    return f"export {server.variable}={shlex.quote(address(name))}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one thing to all servers, or to those named, at the same time; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="services", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "env"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    names = [name for word in options.names for name in word.replace(",", " ").split()]
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return _each(options.action, names or list(NAMES))


def _each(action: str, names: Sequence[str]) -> int:
    began = time.monotonic()
    what: Callable[[str], str] = {"up": up, "down": down, "env": env}[action]
    failed: set[str] = set()
    with ThreadPoolExecutor(len(names)) as pool:
        jobs = {name: pool.submit(what, name) for name in names}
        for name, job in jobs.items():
            try:
                line = job.result()
            except ServerError as error:
                # All of them may fail for one reason, such as an engine that does not answer.
                if str(error) not in failed:
                    print(error, file=sys.stderr, flush=True)
                failed.add(str(error))
            else:
                print(line if action == "env" else f"{name:<9} {line}", flush=True)
    if action == "up" and not failed:
        print(f"ready after {time.monotonic() - began:.1f} s: {len(names)} of {len(names)}")
    return int(bool(failed))


if __name__ == "__main__":
    if os.name != "posix":
        sys.exit("The servers run on Linux and macOS only; set the addresses of others instead.")
    sys.exit(main())

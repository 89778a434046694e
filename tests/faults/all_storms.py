"""`python -m tests.faults.all_storms [transport ...]`: one storm after the other, of all if none is
named, and the table of all; exit code 1 if any invariant broke anywhere."""

from __future__ import annotations

import argparse
import subprocess
import sys

from . import summary

MODULES = {"memory": ["alone_storm"], "sqlite": ["storm"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("transports", nargs="*", metavar="transport", help=", ".join(summary.ORDER))
    names = parser.parse_args().transports or summary.ORDER
    if unknown := set(names) - set(summary.ORDER):
        parser.error(f"no transport: {', '.join(sorted(unknown))}")
    failed = [name for name in names if not _storm(name)]
    print(summary.table([*summary.read().values()]))
    if failed:
        print(f"broken or not run: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _storm(name: str) -> bool:
    module, *arguments = MODULES.get(name, ["server_storm", "--transport", name])
    print(f"-- {name}", flush=True)
    # A process of its own: what one leaves behind in this one would be the next one's.
    argv = [sys.executable, "-m", f"tests.faults.{module}", *arguments]
    return subprocess.run(argv, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

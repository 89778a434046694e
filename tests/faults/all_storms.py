"""`python -m tests.faults.all_storms`: one storm after the other on each transport, and a table of
all; exit code 1 if any invariant broke anywhere."""

from __future__ import annotations

import subprocess
import sys

from . import summary

MODULES = {"memory": ["alone_storm"], "sqlite": ["storm"]}


def main() -> int:
    failed = [name for name in summary.ORDER if not _storm(name)]
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

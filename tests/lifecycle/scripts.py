"""Scripts in interpreters of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Seconds after which a script that should have ended will not.
PATIENCE = 40.0
#: Put before a script: a Python without the private hook that runs first at its exit.
NO_EARLY_HOOK = """\
import concurrent.futures.thread, threading
threading._register_atexit = None
"""


def start(
    script: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    # Measuring coverage takes locks of its own in the very frames that a signal cuts into.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**inherited, "PYTHONPATH": str(ROOT), **(environ or {})},
        # A group of its own, so that children which a broken one leaves behind can be killed too.
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for its end; a script that does not end is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"the script does not end; it printed\n{out}\n{err}", pytrace=False)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def run(
    script: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return finish(start(script, *arguments, environ=environ))

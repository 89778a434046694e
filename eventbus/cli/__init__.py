"""The `eventbus` command. It needs the extra `cli`, which nothing else of the package imports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

#: What the extra brings; a module of ours that cannot be imported is a fault to be seen.
_PACKAGES = {"click", "rich"}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 for success, 1 for failure, 2 for wrong usage.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    try:
        import rich  # noqa: F401  Output needs it later, and a message now is clearer.

        from .root import root
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        print(f"eventbus: no {package} here, run: pip install 'eventbus[cli]'", file=sys.stderr)
        sys.exit(2)
    root.main(args=arguments, prog_name="eventbus")
    raise AssertionError("unreachable: click's main exits")

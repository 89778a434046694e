"""How every command ends: its exit code, and errors in one line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from ..errors import ConfigurationError
from . import text
from .source import Source

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


class Application(click.Group):
    """The root command. What a command returns is its exit code; `None` is success."""

    def main(self, *args: Any, **extra: Any) -> Any:
        source = extra.setdefault("obj", Source())
        extra["standalone_mode"] = False
        sys.exit(exit_code(lambda: super(Application, self).main(*args, **extra), source))


def exit_code(command: Callable[[], Any], source: Source) -> int:
    """Run a command and turn whatever it raises into one line and a number."""
    try:
        return int(command() or 0)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if source.debug:
            click.echo(text.lines(traceback.format_exc().rstrip()), err=True)
        click.echo(f"eventbus: {text.line(message(error))}", err=True)
        usage = isinstance(error, (click.UsageError, ConfigurationError))
        return WRONG_USAGE if usage else FAILED


def message(error: Exception) -> str:
    """What to say of an error, on one line."""
    said = error.format_message() if isinstance(error, click.ClickException) else str(error)
    said = " ".join(said.split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{said.rstrip('.')} (see '{error.ctx.command_path} --help')"
    return said if _explains_itself(error) else f"{type(error).__name__}: {said}"


def _explains_itself(error: Exception) -> bool:
    from ..errors import EventBusError

    return isinstance(error, (click.ClickException, EventBusError))

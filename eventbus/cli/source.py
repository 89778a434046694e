"""Where a command's bus comes from: an application's `module:bus`, a URL, or the environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module

import click

from ..bus import EventBus
from ..env import EVENT_BUS_PROVIDER, read
from ..errors import ConfigurationError
from ..transports import capabilities


@dataclass
class Source:
    """What the options that every command takes have said."""

    app: str | None = None
    url: str | None = None
    debug: bool = False

    def name_app(self, app: str | None) -> None:
        """Take the application from an argument, where a command has one."""
        if app is not None and self.app is not None:
            raise click.UsageError("the application is given twice")
        self.app = app or self.app
        if self.app is None:
            raise click.UsageError("this takes an application: name it as module:bus")

    def bus(self) -> EventBus:
        """The bus itself; a URL ignores the environment.

        Raises:
            ConfigurationError: there is none, or it is wrong.
        """
        if self.app is not None and self.url is not None:
            raise click.UsageError("--app and --url each name a bus: give one of them")
        if self.app is not None:
            return load(self.app)
        if self.url is not None:
            return EventBus(self.url, environ={})
        if read(os.environ, EVENT_BUS_PROVIDER) is None:
            raise click.UsageError(f"which bus? Give --app, --url or set {EVENT_BUS_PROVIDER}")
        return EventBus()

    def shared_bus(self) -> EventBus:
        """A bus that other processes see as well: on another one a command can do nothing."""
        bus = self.bus()
        if capabilities(str(bus.config.provider)).multi_process:
            return bus
        raise click.UsageError(
            f"a bus on {bus.config.provider} lives inside its process: nothing to do from here"
        )


def load(app: str) -> EventBus:
    """Import `module:bus` (or `module`, whose bus is called `bus`) from the working directory.

    Raises:
        ConfigurationError: it cannot be imported, or is no bus.
    """
    module, _, path = app.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = import_module(module)
    except ConfigurationError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"importing {module!r} failed: {reason}") from error
    return _attribute(found, app, path or "bus")


def _attribute(found: object, app: str, path: str) -> EventBus:
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigurationError(f"{app!r}: {error}") from error
    if not isinstance(found, EventBus):
        raise ConfigurationError(f"{app!r} is of type {type(found).__name__}, not an EventBus")
    return found

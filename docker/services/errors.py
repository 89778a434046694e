"""What goes wrong with a server, in words that say what to do about it."""

from __future__ import annotations


class ServerError(Exception):
    """A server cannot be had, does not start or does not answer.

    The text names the server, the reason and what to change.
    """

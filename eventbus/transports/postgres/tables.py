"""The names of our tables in the schema that was chosen."""

from __future__ import annotations

import hashlib

#: Bytes that PostgreSQL keeps of an identifier or a channel's name.
LONGEST_NAME = 63


class Tables:
    """Quoted names, fit to be put into statements.

    Args:
        schema: letters, digits, `_` and `-`; the config has made sure of that.
    """

    NAMES = ("meta", "log", "subscription", "lease", "inbox", "dead")

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.quoted = f'"{schema}"'
        self.meta, self.log, self.subscription, self.lease, self.inbox, self.dead = (
            f"{self.quoted}.{name}" for name in self.NAMES
        )

    @property
    def channel(self) -> str:
        """Where news of this schema are announced."""
        name = f"eventbus:{self.schema}"
        if len(name) > LONGEST_NAME:
            name = f"eventbus:{hashlib.sha256(self.schema.encode()).hexdigest()[:40]}"
        return name

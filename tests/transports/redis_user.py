"""The user with the rights that the documentation names, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "redis.rst"
NAME, PASSWORD = "events", "secret"


def rights() -> list[str]:
    """The words of the page's `ACL SETUSER`."""
    found = re.search(r"ACL SETUSER (.*?)\n\n", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None, f"no ACL in {PAGE}"
    return found[1].split()


def create(client: Any) -> None:
    """Make the user on a server, with nothing left of an earlier one."""
    client.execute_command("ACL", "DELUSER", NAME)
    client.execute_command("ACL", "SETUSER", *rights())


def url(administrators: str) -> str:
    """The address with that user's name and password."""
    parts = urlsplit(administrators)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{NAME}:{PASSWORD}@{place}"))

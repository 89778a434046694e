"""The role with the rights that the documentation names, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from psycopg import sql

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "postgres.rst"
PASSWORD = "secret"


def rights(role: str, schema: str = "eventbus") -> list[str]:
    """The page's GRANTs for a role, for a schema of another name."""
    found = re.findall(rf"GRANT [^;]* TO {role};", PAGE.read_text("utf-8"))
    assert found, f"no rights of {role} in {PAGE}"
    return [re.sub(r"\beventbus\b", f'"{schema}"', statement) for statement in found]


def create(admin: Any, role: str) -> None:
    """Make the role on a server, unless it is there; `admin` is a connection in autocommit."""
    name, password = sql.Identifier(role), sql.Literal(PASSWORD)
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password))


def allow(owner: Any, role: str, schema: str = "eventbus") -> None:
    """Give a role its rights on tables that exist."""
    for statement in rights(role, schema):
        owner.execute(statement)


def url(owners: str, role: str) -> str:
    """The address with that role's name and password."""
    parts = urlsplit(owners)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{place}"))

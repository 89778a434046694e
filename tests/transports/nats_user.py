"""The user with the rights that the documentation names, and no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "nats.rst"
NAME, PASSWORD = "events", "secret"
#: What else there is in JetStream's API: topics may be anything in tests, and this may not.
API = (
    "ACCOUNT.>", "DIRECT.>", "META.>", "SERVER.>", "INFO", "STREAM.NAMES", "STREAM.LIST",
    "STREAM.INFO.*", "STREAM.CREATE.*", "STREAM.UPDATE.*", "STREAM.PURGE.*", "STREAM.DELETE.*",
    "STREAM.SNAPSHOT.*", "STREAM.RESTORE.*", "STREAM.MSG.GET.*", "STREAM.MSG.DELETE.*",
    "STREAM.PEER.>", "STREAM.LEADER.>", "STREAM.TEMPLATE.>", "CONSUMER.NAMES.*",
    "CONSUMER.LIST.*", "CONSUMER.INFO.*.*", "CONSUMER.CREATE.*", "CONSUMER.CREATE.*.>",
    "CONSUMER.DURABLE.CREATE.*.*", "CONSUMER.DELETE.*.*", "CONSUMER.MSG.NEXT.*.*",
    "CONSUMER.PAUSE.>", "CONSUMER.LEADER.>",
)


def authorization(administrator: str) -> str:
    """Setting of a server with that user, and an administrator who is called `bus`."""
    publish, subscribe = _rights("publish"), _rights("subscribe")
    topics = [subject for subject in publish if subject.startswith("shop.")]
    assert topics == ["shop.>"], f"the page grants {topics}"
    denied = [f"$JS.API.{name}" for name in API if f"$JS.API.{name}" not in publish]
    allowed = {"allow": [">"], "deny": [*denied, "$SYS.>"]}
    users = [
        {"user": "bus", "password": administrator},
        {
            "user": NAME, "password": PASSWORD,
            "permissions": {"publish": allowed, "subscribe": subscribe},
        },
    ]
    return json.dumps({"users": users})


def _rights(action: str) -> list[str]:
    """The subjects of the page's permissions."""
    found = re.search(rf"{action}: (\[.*?\])", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None, f"no {action} rights in {PAGE}"
    rights: list[str] = json.loads(found[1])
    return rights


def url(administrators: str) -> str:
    """The address with that user's name and password."""
    scheme, _, place = administrators.partition("://")
    return f"{scheme}://{NAME}:{PASSWORD}@{place.rpartition('@')[2]}"

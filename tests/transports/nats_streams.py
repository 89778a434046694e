"""What tests do to a NATS server behind the library's back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats


def api(url: str, *requests: tuple[str, Any]) -> list[Any]:
    """Ask JetStream one thing after another; errors are among the answers."""

    async def ask() -> list[Any]:
        client = await nats.connect(url, allow_reconnect=False)
        try:
            answers = []
            for subject, body in requests:
                data = b"" if body is None else json.dumps(body).encode()
                answer = await client.request(f"$JS.API.{subject}", data, timeout=5)
                answers.append(json.loads(answer.data))
            return answers
        finally:
            await client.close()

    return asyncio.run(ask())


def delete_all(url: str) -> None:
    """Leave no stream."""
    (found,) = api(url, ("STREAM.NAMES", None))
    if found["streams"]:
        api(url, *((f"STREAM.DELETE.{name}", None) for name in found["streams"]))

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


def publish(
    url: str, subject: str, data: bytes, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Store a message as a foreign publisher does; return the server's answer."""

    async def send() -> dict[str, Any]:
        client = await nats.connect(url, allow_reconnect=False)
        try:
            return json.loads((await client.request(subject, data, 5, headers=headers)).data)
        finally:
            await client.close()

    return asyncio.run(send())


def names(url: str) -> set[str]:
    """Of all streams."""
    (found,) = api(url, ("STREAM.NAMES", None))
    return set(found["streams"] or ())


def stream(url: str, name: str) -> dict[str, Any]:
    """What the server tells of a stream."""
    return api(url, (f"STREAM.INFO.{name}", None))[0]


def subjects(url: str, name: str) -> list[str]:
    return stream(url, name)["config"]["subjects"]


def create(url: str, name: str, *subjects: str, **more: Any) -> None:
    config = {"name": name, "subjects": subjects, "retention": "limits", "storage": "file"}
    (made,) = api(url, (f"STREAM.CREATE.{name}", {**config, **more}))
    assert "error" not in made, made

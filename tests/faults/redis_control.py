"""`python -m tests.faults.redis_control`: what a killed Redis loses by itself, without the bus."""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time

import redis

from tests.servers import Redis

KILLS = 20


def main() -> int:
    for policy in ("everysec", "always"):
        confirmed, lost = _run(policy)
        print(f"appendfsync {policy}: {KILLS} kills, {confirmed} confirmed, {lost} lost")
    return 0


def _run(policy: str) -> tuple[int, int]:
    confirmed = lost = 0
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        Redis(folder, options={"appendfsync": policy}) as server,
    ):
        for number in range(KILLS):
            ids = _killed_while_writing(server, f"stream-{number}")
            rows = redis.Redis.from_url(server.url).xrange(f"stream-{number}")
            confirmed += len(ids)
            lost += len(set(ids) - {id for id, _ in rows})
    return confirmed, lost


def _killed_while_writing(server: Redis, stream: str) -> list[bytes]:
    """The ids that were confirmed; the server runs again."""
    client = redis.Redis.from_url(server.url)
    ids: list[bytes] = []

    def write() -> None:
        try:
            while True:
                ids.append(client.xadd(stream, {"n": len(ids)}))
        except redis.RedisError:
            return

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(random.uniform(0.2, 0.6))
    server.kill()
    thread.join()
    server.start()
    return ids


if __name__ == "__main__":
    sys.exit(main())

"""How the suite reaches NATS, and takes away what a test has left there, in milliseconds."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from eventbus import NATSConfig
from tests.servers import provide
from tests.transports import nats_streams

#: Asked once: to see that the server answers takes longer than many a test.
url = cache(lambda: provide("nats"))


def config(folder: Path) -> dict[str, Any]:
    return {"nats": NATSConfig(url=url())}


def reset() -> None:
    # The bus's own user may not delete streams, where a run gives it the least rights.
    nats_streams.delete_all(os.environ.get("NATS_ADMIN_URL") or url())

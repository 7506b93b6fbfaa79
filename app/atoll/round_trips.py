"""Count the sequential round trips of a request to each service, for the Server-Timing header.

One thread serves a request from beginning to end, so counts are kept per thread. Transfers of bytes
in a storage driver's own threads are not counted.
"""

from __future__ import annotations

import threading

DATABASE = "database"
CACHE = "cache"
STORE = "store"

_local = threading.local()


def reset() -> None:
    """Reset the counts for a new request in this thread."""
    _local.counts = {}


def count(service: str) -> None:
    """Count one round trip to DATABASE, CACHE or STORE."""
    counts: dict[str, int] | None = getattr(_local, "counts", None)
    if counts is not None:
        counts[service] = counts.get(service, 0) + 1


def counts() -> dict[str, int]:
    """Return the counts since `reset`, by service."""
    return dict(getattr(_local, "counts", {}))

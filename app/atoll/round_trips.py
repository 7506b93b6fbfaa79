"""Count the round trips that a request costs, one after another, by whom they go to.

A request is served by one thread from beginning to end, so the counts are that thread's. What a
driver does in threads of its own is the bytes, and not counted. Shown as `Server-Timing`.
"""

from __future__ import annotations

import threading
from collections import Counter

DATABASE = "database"
CACHE = "cache"
STORE = "store"

_local = threading.local()


def reset() -> None:
    """Begin to count anew, for a new request in this thread."""
    _local.counts = Counter()


def count(whom: str) -> None:
    """Count one round trip."""
    counts: Counter[str] | None = getattr(_local, "counts", None)
    if counts is not None:
        counts[whom] += 1


def counts() -> dict[str, int]:
    """Return what was counted since `reset`."""
    return dict(getattr(_local, "counts", {}))

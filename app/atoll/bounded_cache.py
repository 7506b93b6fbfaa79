"""A cache in the memory of one process, bounded by the number of its entries."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most `maximum` entries, the oldest of which makes room for a new one.

    Reading takes no lock: it is a single operation of a dictionary. The cache knows nothing about
    the validity of a value, which its user checks at each use.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._entries: dict[K, V] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Set the value of a key."""
        with self._lock:
            self._entries.pop(key, None)
            if len(self._entries) >= self._maximum:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value

    def remove(self, key: K) -> None:
        """Remove a key, if it exists."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Remove all keys."""
        with self._lock:
            self._entries.clear()

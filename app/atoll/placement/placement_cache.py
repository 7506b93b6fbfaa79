"""The cache of placements in Redis: one object that every change of a placement reports to."""

from __future__ import annotations

from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest


def cache_key(digest: Digest | str) -> str:
    """Return the cache key of a blob's size and placements."""
    return f"atoll:placements:{digest}"


class PlacementCache:
    """Cached sizes and placements of blobs."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    def forget(self, *digests: Digest | str) -> None:
        """Delete cached placements, after the transaction that changed them was committed."""
        self._redis.delete(*(cache_key(digest) for digest in digests))

"""Cache deletions that failed in Redis, stored in PostgreSQL until a process repeats them."""

from __future__ import annotations

from datetime import datetime

from atoll.db.pool import Database

# Record failed deletions, in a fixed order so that concurrent statements do not deadlock.
_INSERT = """
INSERT INTO lostcachedeletion (key) SELECT DISTINCT key FROM unnest(%(keys)s::text[]) AS key
ORDER BY key
ON CONFLICT (key) DO UPDATE SET deleted_at = clock_timestamp()
"""

# Select the oldest deletions whose keys may still be cached.
_NEXT = """
SELECT key, deleted_at FROM lostcachedeletion
WHERE deleted_at >= clock_timestamp() - make_interval(secs => %(life)s)
ORDER BY deleted_at LIMIT %(limit)s
"""

# Delete repeated deletions, except those of keys whose deletion failed again in the meantime.
_FORGET = """
DELETE FROM lostcachedeletion WHERE key IN (
    SELECT l.key FROM lostcachedeletion l
    JOIN unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS repeated (key, deleted_at)
        ON repeated.key = l.key AND repeated.deleted_at = l.deleted_at
    ORDER BY l.key FOR UPDATE OF l SKIP LOCKED)
"""

# Delete a batch of deletions whose keys have expired in Redis.
_FORGET_OLD = """
DELETE FROM lostcachedeletion WHERE key IN (
    SELECT key FROM lostcachedeletion
    WHERE deleted_at < clock_timestamp() - make_interval(secs => %(life)s)
    ORDER BY deleted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING key
"""

# Keys per statement and per pipeline.
BATCH = 1000


class LostDeletions:
    """The failed cache deletions of all processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, keys: list[str]) -> None:
        """Record the failed deletion of keys.

        Raises:
            DatabaseUnavailable: The database cannot be written.
        """
        for start in range(0, len(keys), BATCH):
            self._database.run(_INSERT, {"keys": keys[start : start + BATCH]})

    def next(self, life: float) -> list[tuple[str, datetime]]:
        """Return a batch of the oldest deletions of the last `life` seconds.

        Raises:
            DatabaseUnavailable: The database cannot be read.
        """
        rows = self._database.read(_NEXT, {"life": life, "limit": BATCH})
        return [(key, deleted_at) for key, deleted_at in rows]

    def forget(self, repeated: list[tuple[str, datetime]]) -> None:
        """Remove deletions that Redis accepted.

        Raises:
            DatabaseUnavailable: The database cannot be written.
        """
        keys, moments = [key for key, _ in repeated], [moment for _, moment in repeated]
        self._database.run(_FORGET, {"keys": keys, "moments": moments})

    def forget_old(self, life: float) -> None:
        """Remove deletions that are older than `life` seconds.

        Raises:
            DatabaseUnavailable: The database cannot be written.
        """
        while len(self._database.run(_FORGET_OLD, {"life": life, "limit": BATCH})) == BATCH:
            continue

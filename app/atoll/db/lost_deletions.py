"""Cache deletions that Redis did not take, kept in PostgreSQL until a process passes them on."""

from __future__ import annotations

from datetime import datetime

from atoll.db.pool import Database

# In one order, so that two statements do not deadlock.
_KEEP = """
INSERT INTO lostcachedeletion (key) SELECT DISTINCT key FROM unnest(%(keys)s::text[]) AS key
ORDER BY key
ON CONFLICT (key) DO UPDATE SET deleted_at = clock_timestamp()
"""

_NEXT = """
SELECT key, deleted_at FROM lostcachedeletion
WHERE deleted_at >= clock_timestamp() - make_interval(secs => %(life)s)
ORDER BY deleted_at LIMIT %(limit)s
"""

# A key that was lost once more meanwhile stays.
_FORGET = """
DELETE FROM lostcachedeletion WHERE key IN (
    SELECT l.key FROM lostcachedeletion l
    JOIN unnest(%(keys)s::text[], %(moments)s::timestamptz[]) AS told (key, deleted_at)
        ON told.key = l.key AND told.deleted_at = l.deleted_at
    ORDER BY l.key FOR UPDATE OF l SKIP LOCKED)
"""

_FORGET_OLD = """
DELETE FROM lostcachedeletion WHERE key IN (
    SELECT key FROM lostcachedeletion
    WHERE deleted_at < clock_timestamp() - make_interval(secs => %(life)s)
    ORDER BY deleted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING key
"""

# Keys of one statement, and of one pipeline.
BATCH = 1000


class LostDeletions:
    """The deletions that all processes owe to Redis."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, keys: list[str]) -> None:
        """Keep KEYS. Raises DatabaseUnavailable."""
        for start in range(0, len(keys), BATCH):
            self._database.run(_KEEP, {"keys": keys[start : start + BATCH]})

    def next(self, life: float) -> list[tuple[str, datetime]]:
        """Return the oldest deletions of the last LIFE seconds. Raises DatabaseUnavailable."""
        rows = self._database.read(_NEXT, {"life": life, "limit": BATCH})
        return [(key, deleted_at) for key, deleted_at in rows]

    def forget(self, told: list[tuple[str, datetime]]) -> None:
        """Remove what Redis was TOLD. Raises DatabaseUnavailable."""
        keys, moments = [key for key, _ in told], [moment for _, moment in told]
        self._database.run(_FORGET, {"keys": keys, "moments": moments})

    def forget_old(self, life: float) -> None:
        """Remove what is older than LIFE seconds. Raises DatabaseUnavailable."""
        while len(self._database.run(_FORGET_OLD, {"life": life, "limit": BATCH})) == BATCH:
            continue

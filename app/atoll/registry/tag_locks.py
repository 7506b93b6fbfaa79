"""The advisory locks on a tag and on a manifest's digest in a repository.

The lock on a tag serializes its writers. A push of a manifest holds the lock on its digest
exclusively; a push of an index that lists the manifest, and may find it absent, holds it shared.
"""

from __future__ import annotations

from atoll.db.advisory_locks import lock, lock_shared, pair_key, short_hash


def lock_tag(repository: str, tag: str) -> str:
    """Return the statement that locks a tag.

    Args:
        repository: An SQL expression for the repository's id.
        tag: An SQL expression for the tag's name.
    """
    return f"SELECT {lock(pair_key(repository, tag))};"


def lock_references(repository: str, *, exclusive: str, shared: str) -> str:
    """Return the statement that locks tags and digests of manifests in a fixed order.

    Args:
        repository: An SQL expression for the repository's id.
        exclusive: An SQL expression for an array of tags and digests.
        shared: An SQL expression for an array of digests.
    """
    key = pair_key(repository, "reference")
    return f"""SELECT CASE WHEN written THEN {lock(key)} ELSE {lock_shared(key)} END
FROM (SELECT unnest({exclusive}) AS reference, true AS written
      UNION ALL SELECT unnest({shared}), false) AS locked
ORDER BY {short_hash("reference")}, written DESC;"""

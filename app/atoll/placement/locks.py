"""The advisory lock on a digest: readers and writers of an object against its deleter.

Transactions that refer to an object hold the lock shared. A deleter holds it exclusively while it
checks that nothing refers to the object (`content_deletions`). Statements that lock several digests
take the locks in the order of their keys, so they cannot deadlock.
"""

from __future__ import annotations

from atoll.db.advisory_locks import lock, lock_shared, text_key, try_lock

_KEY = text_key("%(digest)s")

LOCK_DIGEST_SHARED = f"SELECT {lock_shared(_KEY)};"
LOCK_DIGEST = f"SELECT {lock(_KEY)};"


def lock_digests_shared(digests: str) -> str:
    """Return the statement that locks several digests shared.

    Args:
        digests: an SQL expression for an array of digests.
    """
    key = text_key("digest")
    return f"SELECT {lock_shared(key)} FROM unnest({digests}::text[]) AS digest ORDER BY {key};"


def try_lock_digest(digest: str) -> str:
    """Return the condition that a digest was locked exclusively without waiting.

    Args:
        digest: an SQL expression for the digest.
    """
    return try_lock(text_key(digest))

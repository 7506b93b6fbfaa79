"""The rights of repositories to blobs, in SQL and in the cache."""

from __future__ import annotations

from atoll.names import Digest, RepositoryName

# CTE: write the right of a repository to a blob, or extend it.
GRANT_RIGHT = """
granted AS (
    INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
    SELECT {repository}, blob.id, now() + make_interval(secs => %(keep_seconds)s)
    FROM blob {where}
    ON CONFLICT (repository_id, blob_id) DO UPDATE
    SET expires_at = greatest(uploadedblob.expires_at, EXCLUDED.expires_at)
    RETURNING blob_id
)"""


def usable_in(repository: str) -> str:
    """Return the condition that blob `s` can be read and mounted from a repository.

    A manifest of the repository refers to it, or it was recently uploaded or mounted there.

    Args:
        repository: An SQL expression for the repository's id.
    """
    return right_in(repository, "ub.expires_at > now()")


def nameable_in(repository: str) -> str:
    """Return the condition that a manifest pushed to a repository may refer to blob `s`.

    For slow pushes this includes expired rights that the garbage collector has not deleted yet.

    Args:
        repository: An SQL expression for the repository's id.
    """
    return right_in(repository, "true")


def right_in(repository: str, valid: str) -> str:
    """Return the condition that a repository has the right to blob `s`.

    Args:
        repository: An SQL expression for the repository's id.
        valid: The condition of an upload or mount `ub`.
    """
    return f"""(
    EXISTS (SELECT FROM uploadedblob ub
            WHERE ub.repository_id = {repository} AND ub.blob_id = s.id AND {valid})
    OR EXISTS (SELECT FROM manifestblob mb JOIN manifest m ON m.id = mb.manifest_id
               WHERE mb.repository_id = {repository} AND mb.blob_id = s.id
                 AND m.deleted_at IS NULL))"""


def right_cache_key(name: RepositoryName | str, digest: Digest | str) -> str:
    """Return the cache key of a repository's right to a blob."""
    return f"atoll:right:{name}:{digest}"


def repository_value(repository_id: int) -> bytes:
    """Return the value of a cached right, which identifies the repository beyond its name."""
    return f"id:{repository_id}".encode()


def proves_repository(value: bytes | None, name: RepositoryName) -> bool:
    """Return whether a cached right belongs to the repository that a name is bound to.

    For an unbound name, a right of any repository of that name is sufficient.
    """
    if value is None:
        return False
    return name.id is None or value == repository_value(name.id)

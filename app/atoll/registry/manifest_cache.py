"""The cache of manifests in Redis: its keys, and what a deletion invalidates."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest, RepositoryName
from atoll.registry.blob_rights import right_cache_key


def manifest_cache_key(name: RepositoryName | str, digest: str) -> str:
    """Return the cache key of a manifest's content."""
    return f"atoll:manifest:{name}:{digest}"


def manifest_cache_keys(name: RepositoryName | str, digest: str) -> tuple[str, str]:
    """Return the cache keys of a manifest's content and of its repository's id.

    Deleting the manifest deletes both.
    """
    return manifest_cache_key(name, digest), f"atoll:manifest-of:{name}:{digest}"


class ManifestCache:
    """Cached manifests, and cached rights of repositories to blobs."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis

    def forget(self, name: RepositoryName, digest: Digest | str, blobs: Sequence[str]) -> None:
        """Delete the cached values that the deletion of a manifest invalidates.

        Args:
            name: the repository.
            digest: the manifest's digest.
            blobs: the digests of its blobs, to which the repository may have lost its right.
        """
        rights = (right_cache_key(name, blob) for blob in blobs)
        self._redis.delete(*manifest_cache_keys(name, str(digest)), *rights)

"""Keys of cached manifests."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.names import RepositoryName
from atoll.registry.blobs import right_cache_key


def manifest_cache_key(name: RepositoryName | str, digest: str) -> str:
    """Return the cache key of a manifest's content."""
    return f"atoll:manifest:{name}:{digest}"


def manifest_cache_keys(name: RepositoryName | str, digest: str) -> tuple[str, str]:
    """Return the cache keys of a manifest's content and of its repository's id.

    Deleting the manifest deletes both.
    """
    return manifest_cache_key(name, digest), f"atoll:manifest-of:{name}:{digest}"


def deleted_manifest_cache_keys(
    name: RepositoryName, digest: str, blobs: Sequence[str]
) -> list[str]:
    """Return the cache keys that the deletion of a manifest invalidates.

    Args:
        name: The repository.
        digest: The manifest's digest.
        blobs: The digests of its blobs, to which the repository may have lost its right.
    """
    return [
        *manifest_cache_keys(name, digest),
        *(right_cache_key(name, blob) for blob in blobs),
    ]

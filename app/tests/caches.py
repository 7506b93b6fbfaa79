"""Caches without Redis, for tests of code that has to invalidate them."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.names import Digest, RepositoryName
from atoll.placement.placement_cache import PlacementCache
from atoll.registry.manifest_cache import ManifestCache


class RecordingCache(PlacementCache):
    """Caches nothing and records the digests of which placements were to be forgotten."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def forget(self, *digests: Digest | str) -> None:
        self.forgotten += map(str, digests)


class NoManifestCache(ManifestCache):
    """Caches nothing."""

    def __init__(self) -> None:
        pass

    def forget(self, name: RepositoryName, digest: Digest | str, blobs: Sequence[str]) -> None:
        pass

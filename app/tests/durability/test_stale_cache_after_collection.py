"""A push succeeds when it is retried, although the cache still has a collected blob."""

from __future__ import annotations

from typing import cast

import pytest
import redis
from atoll.db.lost_deletions import LostDeletions
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest
from atoll.placement.placement_cache import cache_key
from atoll.placement.upkeep.garbage import Collector
from atoll.registry.errors import BlobUnknown, ManifestBlobUnknown

from ..caches import RecordingCache
from .memory_redis import MemoryClient, MemoryRedis
from .sites import MANIFEST_TYPE, SUPERUSER, MemoryRegistry, MemorySite, image_manifest

CONFIG, LAYER = b'{"some": "configuration"}', b"a layer"


@pytest.fixture
def cache() -> MemoryRedis:
    return MemoryRedis()


@pytest.fixture
def site(registry: MemoryRegistry, cache: MemoryRedis) -> MemorySite:
    """A site with a cache."""
    site = registry["us"]
    shared = SharedRedis(cast(redis.Redis, MemoryClient(cache)), LostDeletions(site.database))
    shared.resume_reads(database_available=True)
    site.graph.__dict__["redis"] = shared
    return site


def put_manifest(site: MemorySite) -> None:
    manifests = site.manifests()
    content = image_manifest(CONFIG, [LAYER])
    manifests.put(site.repository, "latest", content, MANIFEST_TYPE, tags=[], username=SUPERUSER)


def push_missing_blobs(site: MemorySite) -> None:
    """Push as clients do: only blobs that a HEAD request does not find."""
    for content in (CONFIG, LAYER):
        try:
            site.graph.blobs.find(site.repository, Digest.of(content))
        except BlobUnknown:
            site.push(content)
    put_manifest(site)


def collect_and_crash(site: MemorySite) -> None:
    """Collect all blobs, in a process that crashes before it deletes their keys from the cache."""
    site.database.run("UPDATE uploadedblob SET expires_at = now(); DELETE FROM replicationtask")
    bundle = site.graph.bundle.model_copy(update={"garbage_collection_grace": 0})
    collector = Collector(site.database, bundle, RecordingCache())
    collector.mark()
    assert collector.collect_blobs() == 2


def test_a_push_that_skipped_a_collected_blob_succeeds_on_retry(
    site: MemorySite, cache: MemoryRedis
) -> None:
    for content in (CONFIG, LAYER):
        site.push(content)
    cache.expire_marks()
    for content in (CONFIG, LAYER):
        site.graph.blobs.find(site.repository, Digest.of(content))
    assert cache.values[cache_key(Digest.of(LAYER))]
    collect_and_crash(site)
    with pytest.raises(ManifestBlobUnknown):
        push_missing_blobs(site)
    push_missing_blobs(site)
    assert site.placements(Digest.of(LAYER)) == {"us": "good"}


def test_a_manifest_refused_because_of_a_collected_blob_deletes_its_cached_keys(
    site: MemorySite, cache: MemoryRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (CONFIG, LAYER):
        site.push(content)
    cache.expire_marks()
    for content in (CONFIG, LAYER):
        site.graph.blobs.find(site.repository, Digest.of(content))
    run = site.database.run

    def run_after_the_collector(sql: str, parameters: object = None) -> list[object]:
        if "INSERT INTO manifest " in sql:
            monkeypatch.undo()
            collect_and_crash(site)
        return run(sql, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(site.database, "run", run_after_the_collector)
    with pytest.raises(ManifestBlobUnknown):
        put_manifest(site)
    push_missing_blobs(site)

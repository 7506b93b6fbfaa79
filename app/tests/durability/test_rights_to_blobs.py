"""The right to a blob from an upload or a mount expires, and its row is deleted."""

from __future__ import annotations

from typing import Any, cast

import pytest
from atoll.db.lost_deletions import LostDeletions
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.garbage import BATCH, Collector
from atoll.placement.upkeep.over_replication import OverReplication
from atoll.registry.blob_rights import right_cache_key
from atoll.registry.blobs import Blob
from atoll.registry.errors import BlobUnknown, ManifestBlobUnknown
from atoll.server.maintenance import activities

from ..caches import RecordingCache
from .memory_redis import MemoryClient, MemoryRedis
from .sites import MANIFEST_TYPE, SUPERUSER, MemoryRegistry, MemorySite, image_manifest

OTHER = RepositoryName("strict", "app")
DATA = b"the same bytes"


def collector(site: MemorySite) -> Collector:
    return Collector(site.database, site.graph.bundle, RecordingCache())


def find(site: MemorySite, name: RepositoryName, digest: Digest) -> Blob:
    return site.graph.blobs.find(name, digest)


def put(site: MemorySite, name: RepositoryName) -> None:
    content = image_manifest(DATA, [])
    site.manifests().put(name, "latest", content, MANIFEST_TYPE, tags=[], username=SUPERUSER)


def age_rights(site: MemorySite, days: float) -> None:
    site.database.run(
        "UPDATE uploadedblob SET expires_at = expires_at - make_interval(secs => %s)",
        [days * 86400],
    )


def count_rights(site: MemorySite) -> int:
    return int(site.database.read("SELECT count(*) FROM uploadedblob")[0][0])


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    """A site, and another namespace with a repository."""
    site = registry["us"]
    site.database.run(
        """WITH made AS (INSERT INTO "user" (username, organization) VALUES ('strict', true)
           RETURNING id)
           INSERT INTO repository (namespace_user_id, name, visibility)
           SELECT id, 'app', 'private' FROM made"""
    )
    return site


def mount(site: MemorySite, digest: Digest) -> None:
    """Mount a blob of a manifest of the first repository in the other one."""
    put(site, site.repository)
    assert site.graph.blob_mounts.mount(OTHER, site.repository, digest)


def test_a_mounted_blob_is_readable_until_the_right_expires(site: MemorySite) -> None:
    digest = site.push(DATA)
    mount(site, digest)
    assert find(site, OTHER, digest).size == len(DATA)
    age_rights(site, 0.1)
    with pytest.raises(BlobUnknown):
        find(site, OTHER, digest)
    assert not site.graph.blob_mounts.mount(RepositoryName(SUPERUSER, "app"), OTHER, digest)
    assert find(site, site.repository, digest).size == len(DATA)


def test_a_push_that_outlasts_the_right_can_still_reference_its_blobs(
    site: MemorySite,
) -> None:
    digest = site.push(DATA)
    mount(site, digest)
    age_rights(site, 0.9)
    collector(site).step()
    put(site, OTHER)
    assert find(site, OTHER, digest).size == len(DATA)


def test_expired_rights_are_deleted_after_a_grace_period(site: MemorySite) -> None:
    digest = site.push(DATA)
    mount(site, digest)
    age_rights(site, 0.9)
    collector(site).step()
    assert count_rights(site) == 2
    age_rights(site, 0.2)
    collector(site).step()
    assert count_rights(site) == 0
    with pytest.raises(ManifestBlobUnknown):
        put(site, OTHER)
    assert find(site, site.repository, digest).size == len(DATA)


def test_rights_are_deleted_in_bounded_transactions(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.database.run(
        "WITH blobs AS (INSERT INTO imagestorage (content_checksum, image_size)"
        " SELECT 'sha256:' || lpad(n::text, 64, '0'), 1 FROM generate_series(1, %s) AS n"
        " RETURNING id) INSERT INTO uploadedblob (repository_id, blob_id, expires_at)"
        " SELECT r.id, blobs.id, now() - interval '1 year' FROM repository r, blobs",
        [2 * BATCH + 1],
    )
    found = collector(site)
    deleted: list[int] = []
    forget = found.delete_rights
    monkeypatch.setattr(found, "delete_rights", lambda: deleted.append(forget()) or deleted[-1])
    found.step()
    assert deleted == [BATCH, BATCH, 1]


def test_an_expired_right_requires_no_copy(site: MemorySite) -> None:
    """Only the policy of the other repository requires the location ap."""
    site.database.run(
        "INSERT INTO replicationpolicy (repository_id, extra)"
        " SELECT id, ARRAY['ap'] FROM repository WHERE name = 'app' AND namespace_user_id ="
        """ (SELECT id FROM "user" WHERE username = 'strict')"""
    )
    digest = site.push(DATA)
    mount(site, digest)
    reconciler = Reconciler(site.database, ["us"])
    site.database.run("DELETE FROM replicationtask")
    assert reconciler.step() == 1
    site.database.run("DELETE FROM replicationtask")
    age_rights(site, 0.1)
    assert reconciler.step() == 0


def test_an_expired_right_keeps_no_copy_at_an_excluded_location(site: MemorySite) -> None:
    """The namespace of the image excludes eu; the other repository does not."""
    digest = site.push(DATA)
    mount(site, digest)
    site.database.run(
        "INSERT INTO imagestorageplacement (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu';"
        " INSERT INTO replicationpolicy (namespace_user_id, excluded)"
        """ SELECT id, ARRAY['eu'] FROM "user" WHERE username = 'admin'"""
    )
    excess = OverReplication(site.database, ["us"], RecordingCache())
    assert not excess.step()
    age_rights(site, 0.1)
    assert excess.step()
    assert site.placements(digest) == {"us": "good"}


@pytest.fixture
def cached(site: MemorySite) -> MemoryRedis:
    """The site with a cache."""
    server = MemoryRedis()
    redis = SharedRedis(cast(Any, MemoryClient(server)), LostDeletions(site.database))
    redis.resume_reads(database_available=True)
    site.graph.__dict__["redis"] = redis
    return server


def has_cached_right(cached: MemoryRedis, site: MemorySite, digest: Digest) -> bool:
    return bool(cached.values.get(right_cache_key(site.repository, digest)))


def test_deleting_a_manifest_deletes_the_cached_rights_to_its_blobs(
    site: MemorySite, cached: MemoryRedis
) -> None:
    digest = site.push(DATA)
    put(site, site.repository)
    age_rights(site, 1)
    cached.expire_marks()
    find(site, site.repository, digest)
    assert has_cached_right(cached, site, digest)
    site.manifests().delete(site.repository, Digest.of(image_manifest(DATA, [])))
    assert not has_cached_right(cached, site, digest)
    with pytest.raises(BlobUnknown):
        find(site, site.repository, digest)


def test_collecting_a_manifest_deletes_the_cached_rights_to_its_blobs(
    site: MemorySite, cached: MemoryRedis
) -> None:
    """Its tags are deleted and past the retention of tag history."""
    digest = site.push(DATA)
    put(site, site.repository)
    age_rights(site, 1)
    cached.expire_marks()
    find(site, site.repository, digest)
    assert has_cached_right(cached, site, digest)
    site.database.run(
        "UPDATE tag SET lifetime_end_ms = 1; UPDATE manifest SET pushed_at = now() - interval '9d'"
    )
    untagged = next(one for one in activities(site.graph) if one.name == "untagged")
    untagged.work()
    assert not has_cached_right(cached, site, digest)
    with pytest.raises(BlobUnknown):
        find(site, site.repository, digest)


def test_a_right_is_not_cached_beyond_its_expiry(site: MemorySite, cached: MemoryRedis) -> None:
    digest = site.push(DATA)
    cached.expire_marks()
    site.database.run("UPDATE uploadedblob SET expires_at = now() + interval '9 minutes'")
    assert find(site, site.repository, digest).size == len(DATA)
    assert not has_cached_right(cached, site, digest)
    site.database.run("UPDATE uploadedblob SET expires_at = now() + interval '11 minutes'")
    assert find(site, site.repository, digest).size == len(DATA)
    assert has_cached_right(cached, site, digest)

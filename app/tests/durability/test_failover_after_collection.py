"""A failover that loses the collector's last transactions restores no blob without object."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.names import Digest, RepositoryName
from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.upkeep.garbage import Collector

from ..caches import RecordingCache
from .databases import administer, database_uri
from .sites import (
    MANIFEST_TYPE,
    SUPERUSER,
    MemoryRegistry,
    MemorySite,
    image_manifest,
    make_registry,
)

CONFIG, LAYER = b'{"some": "configuration"}', b"a layer"


def collector(site: MemorySite, **changes: object) -> Collector:
    bundle = site.graph.bundle.model_copy(update={"garbage_collection_grace": 0, **changes})
    return Collector(site.database, bundle, RecordingCache())


def delete_objects(site: MemorySite) -> None:
    for location in site.stores:
        queue = DeleteQueue(site.database, site.graph.content, location)
        while queue.turn():
            pass


@pytest.fixture
def promote(postgres_uri: str, tmp_path: Path) -> Iterator[Callable[[MemoryRegistry], object]]:
    """Return a function that copies a database, and returns a function that fails over to it."""
    names = []

    def copy(old: MemoryRegistry) -> Callable[[], MemoryRegistry]:
        for site in old.sites.values():
            site.database.forget_idle()
        name = f"standby_{uuid.uuid4().hex}"
        administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {old.uri.rpartition('/')[2]}")
        names.append(name)

        def failover() -> MemoryRegistry:
            uri = database_uri(postgres_uri, name)
            new = make_registry(uri, tmp_path / "promoted", list(old.stores))
            for location, store in old.stores.items():
                new.stores[location].objects = store.objects
            return new

        return failover

    yield copy
    for name in names:
        administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def push_unneeded(site: MemorySite) -> list[Digest]:
    """Push blobs that are no longer needed and have a tombstone."""
    digests = [site.push(CONFIG), site.push(LAYER)]
    site.database.run("UPDATE uploadedblob SET expires_at = now(); DELETE FROM replicationtask")
    assert collector(site).mark() == len(digests)
    return digests


def test_a_blob_restored_by_a_failover_has_its_object(
    registry: MemoryRegistry,
    promote: Callable[[MemoryRegistry], Callable[[], MemoryRegistry]],
) -> None:
    digests = push_unneeded(registry["us"])
    failover = promote(registry)
    assert collector(registry["us"]).collect_blobs() == len(digests)
    delete_objects(registry["us"])
    us = failover()["us"]
    for digest in digests:
        assert us.placements(digest) == {"us": "good"}
        assert us.has_object("us", digest)


def test_a_manifest_is_accepted_after_a_failover_and_its_blobs_remain(
    registry: MemoryRegistry,
    promote: Callable[[MemoryRegistry], Callable[[], MemoryRegistry]],
) -> None:
    digests = push_unneeded(registry["us"])
    failover = promote(registry)
    collector(registry["us"]).collect_blobs()
    delete_objects(registry["us"])
    us = failover()["us"]
    us.database.run("UPDATE uploadedblob SET expires_at = now() + interval '1 hour'")
    other = RepositoryName(SUPERUSER, "other")
    us.graph.repositories.create_for_push(SUPERUSER, other)
    assert all(us.graph.blob_mounts.mount(other, us.repository, digest) for digest in digests)
    content = image_manifest(CONFIG, [LAYER])
    us.manifests().put(other, "latest", content, MANIFEST_TYPE, tags=[], username=SUPERUSER)
    collector(us).step()
    delete_objects(us)
    assert all(us.has_object("us", digest) for digest in digests)


def test_objects_of_collected_blobs_are_deleted_after_the_failover_window(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    push_unneeded(us)
    collector(us).collect_blobs()
    delete_objects(us)
    assert len(us.stores["us"].objects) == 2
    us.database.run("UPDATE objectdeletion SET available_at = available_at - interval '59 minutes'")
    delete_objects(us)
    assert len(us.stores["us"].objects) == 2
    us.database.run("UPDATE objectdeletion SET available_at = available_at - interval '1 minute'")
    delete_objects(us)
    assert us.stores["us"].objects == {}
    assert us.database.read("SELECT count(*) FROM imagestorage")[0][0] == 0


def test_the_failover_window_is_configurable(registry: MemoryRegistry) -> None:
    us = registry["us"]
    push_unneeded(us)
    collector(us, garbage_collection_failover_window=0).collect_blobs()
    delete_objects(us)
    assert us.stores["us"].objects == {}

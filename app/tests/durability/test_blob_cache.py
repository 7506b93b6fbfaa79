"""The cached placements of a blob follow its pushes."""

from __future__ import annotations

from typing import Any, cast

import pytest
from atoll.db.lost_deletions import LostDeletions
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest
from atoll.placement.placement_cache import cache_key

from .memory_redis import MemoryClient, MemoryRedis
from .sites import MemoryRegistry, MemorySite

CONTENT = b"the content"
DIGEST = Digest.of(CONTENT)
KEY = cache_key(DIGEST)


@pytest.fixture
def server() -> MemoryRedis:
    return MemoryRedis()


@pytest.fixture
def us(registry: MemoryRegistry, server: MemoryRedis) -> MemorySite:
    """A site with a Redis."""
    site = registry["us"]
    client = cast(Any, MemoryClient(server))
    redis = SharedRedis(client, LostDeletions(site.database))
    redis.resume_reads(database_available=True)
    site.graph.__dict__["redis"] = redis
    return site


def find(site: MemorySite) -> list[str]:
    return site.graph.blobs.find(site.repository, DIGEST).placements


def test_a_new_blob_is_cached_by_its_first_reader(us: MemorySite, server: MemoryRedis) -> None:
    us.push(CONTENT)
    assert KEY not in server.values
    assert find(us) == ["us"]
    assert b'"us"' in server.values[KEY]


def test_a_blob_that_is_pushed_again_is_not_cached_by_readers_from_before(
    us: MemorySite, server: MemoryRedis
) -> None:
    us.push(CONTENT)
    us.push(CONTENT)
    assert find(us) == ["us"]
    assert server.values[KEY] == b""


def test_a_new_blob_replaces_what_was_cached_of_a_deleted_one(
    us: MemorySite, server: MemoryRedis
) -> None:
    """A process that is killed after its commit leaves the value behind."""
    server.values[KEY] = b'[1, ["eu"]]'
    us.push(CONTENT)
    assert find(us) == ["us"]
    assert server.values[KEY] == b""


def test_a_mark_of_a_deletion_outlasts_the_push_of_a_new_blob(
    us: MemorySite, server: MemoryRedis
) -> None:
    server.values[KEY] = b""
    us.push(CONTENT)
    assert find(us) == ["us"]
    assert server.values[KEY] == b""


def test_without_redis_the_deletion_of_an_older_value_is_recorded(us: MemorySite) -> None:
    cast(Any, us.graph.redis)._client.down = True
    us.push(CONTENT)
    assert [KEY] in us.database.read("SELECT key FROM lostcachedeletion")

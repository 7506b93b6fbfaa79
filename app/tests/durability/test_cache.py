"""Deleted values are not served from the cache, even if Redis missed the deletion."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from atoll.db import shared_redis
from atoll.db.lost_deletions import LostDeletions
from atoll.db.pool import DatabaseUnavailable
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest
from atoll.registry.errors import ManifestUnknown
from atoll.registry.manifests import Manifests

from .memory_redis import MemoryClient, MemoryRedis
from .sites import MANIFEST_TYPE, MemorySite, image_manifest, make_registry

CONFIG = b"{}"
MANIFEST = image_manifest(CONFIG, [])
DIGEST = Digest.of(MANIFEST)


class Process:
    """A process of the site us, with its own connection to a shared Redis."""

    def __init__(self, uri: str, directory: Path, server: MemoryRedis) -> None:
        self.site: MemorySite = make_registry(uri, directory, ["us"])["us"]
        self.client = MemoryClient(server)
        self.redis = SharedRedis(
            cast(Any, self.client), LostDeletions(self.site.database), monotonic=lambda: self.now
        )
        self.now = 0.0
        self.site.graph.__dict__["redis"] = self.redis
        self.manifests: Manifests = self.site.graph.dependencies().manifests

    def probe(self) -> None:
        """Probe Redis, as the prober of the process does."""
        if self.redis.ping():
            self.redis.resume_reads(database_available=True)

    def pull(self) -> bool:
        """Pull the manifest by digest; return whether it was found."""
        try:
            self.manifests.get(self.site.repository, str(DIGEST))
        except ManifestUnknown:
            return False
        return True

    def delete(self) -> None:
        self.manifests.delete(self.site.repository, DIGEST)


def refuse(*_arguments: object) -> list[Any]:
    raise DatabaseUnavailable("down")


@pytest.fixture
def make_process(make_database: Callable[[], str], tmp_path: Path) -> Callable[[], Process]:
    """Return a function that creates processes with a shared database and cache of the manifest."""
    uri, server = make_database(), MemoryRedis()
    started = []

    def make() -> Process:
        process = Process(uri, tmp_path / f"process-{len(started)}", server)
        started.append(process)
        return process

    first = make()
    first.probe()
    first.site.push(CONFIG)
    first.manifests.put(
        first.site.repository, "latest", MANIFEST, MANIFEST_TYPE, tags=[], username="admin"
    )
    assert first.pull()
    assert server.values
    return make


def test_a_deletion_that_redis_missed_survives_the_process(
    make_process: Callable[[], Process],
) -> None:
    ended = make_process()
    ended.client.down = True
    ended.delete()
    successor = make_process()
    assert not successor.pull()
    successor.probe()
    assert not successor.pull()


def test_a_deletion_that_redis_missed_is_repeated_by_another_process(
    make_process: Callable[[], Process],
) -> None:
    cut_off, other = make_process(), make_process()
    other.probe()
    cut_off.client.down = True
    cut_off.delete()
    assert other.redis.repeat_lost_deletions()
    assert not other.pull()
    assert other.site.database.read("SELECT count(*) FROM lostcachedeletion")[0][0] == 0


def test_redis_is_not_read_after_an_outage_until_missed_deletions_are_repeated(
    make_process: Callable[[], Process],
) -> None:
    process = make_process()
    process.probe()
    process.client.down = True
    process.delete()
    process.client.down = False
    process.now += 10
    assert not process.pull()
    process.probe()
    assert not process.pull()


def test_cached_values_are_read_while_missed_deletions_cannot_be_looked_up(
    make_process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make_process()
    monkeypatch.setattr(process.site.database, "run", refuse)
    process.redis.resume_reads(database_available=False)
    assert process.pull()


def test_deletions_for_an_unavailable_redis_use_bounded_memory_and_are_sent_in_batches(
    make_process: Callable[[], Process],
) -> None:
    process = make_process()
    process.client.down = True
    tracemalloc.start()
    for number in range(20):
        process.redis.delete(*(f"atoll:manifest:{number}:{key:064x}" for key in range(1000)))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 1_000_000
    process.client.down = False
    process.now += 10
    process.client.server.pipelines.clear()
    assert process.redis.repeat_lost_deletions()
    assert max(process.client.server.pipelines) <= 1000
    assert sum(process.client.server.pipelines) == 20_000


def test_deletions_older_than_any_cached_value_are_dropped(
    make_process: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make_process()
    process.client.down = True
    process.redis.delete("atoll:placements:old")
    monkeypatch.setattr(process.site.database, "run", refuse)
    process.redis.delete("atoll:placements:in-memory")
    monkeypatch.undo()
    monkeypatch.setattr(shared_redis, "LIFE_SECONDS", 0)
    process.client.down = False
    process.now += 10
    process.client.server.pipelines.clear()
    assert process.redis.repeat_lost_deletions()
    assert process.client.server.pipelines == []
    assert process.site.database.read("SELECT count(*) FROM lostcachedeletion")[0][0] == 0

"""Expired manifests are removed at the rate at which they expire."""

from __future__ import annotations

import pytest
from atoll.placement.upkeep.garbage import BATCH, Collector

from ..caches import RecordingCache
from .sites import MemoryRegistry, MemorySite


def expire_manifests(site: MemorySite, count: int) -> None:
    site.push(b"so that the repository exists")
    site.database.run(
        "INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes, deleted_at)"
        " SELECT r.id, 'sha256:' || lpad(n::text, 64, '0'), 'text/plain', '',"
        " now() - interval '1 year' FROM repository r, generate_series(1, %s) AS n",
        [count],
    )


def test_a_round_removes_all_expired_manifests_in_bounded_transactions(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = registry["us"]
    expire_manifests(site, 3 * BATCH + 1)
    collector = Collector(site.database, site.graph.bundle, RecordingCache())
    removed = []
    forget = collector.delete_manifests
    monkeypatch.setattr(
        collector, "delete_manifests", lambda: removed.append(forget()) or removed[-1]
    )
    collector.step()
    assert removed == [BATCH, BATCH, BATCH, 1]
    assert site.database.read("SELECT count(*) FROM manifest") == [[0]]

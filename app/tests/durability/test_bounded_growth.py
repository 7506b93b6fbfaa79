"""Maintenance keeps every table bounded: after a year, only records in use remain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.server.maintenance import activities
from atoll.services import Services

from .busy_registry import fill
from .sites import MemoryRegistry, MemorySite, make_registry

ROWS = 6_000

# For each table, a query for rows that maintenance must have deleted.
_OVERDUE = {
    "log entries older than the rotation threshold": """
        SELECT count(*) FROM logentry WHERE created_at < now() - interval '30 days'""",
    "expired OAuth tokens": """
        SELECT count(*) FROM oauthaccesstoken WHERE expires_at < now() - interval '1 day'""",
    "expired app-specific tokens": """
        SELECT count(*) FROM appspecifictoken WHERE expires_at < now() - interval '1 day'""",
    "pull statistics of missing manifests": """
        SELECT count(*) FROM manifestpullstatistics s WHERE NOT EXISTS (SELECT FROM manifest m
            WHERE m.repository_id = s.repository_id AND m.digest = s.manifest_digest)""",
    "pull statistics of missing tags": """
        SELECT count(*) FROM tagpullstatistics s WHERE NOT EXISTS (SELECT FROM tag t
            WHERE t.repository_id = s.repository_id AND t.name = s.tag_name)""",
    "tag history beyond the time machine": """
        SELECT count(*) FROM tag
        WHERE lifetime_end_ms < (extract(epoch FROM now()) - 14 * 86400) * 1000""",
    "manifests without a tag": """
        SELECT count(*) FROM manifest m
        WHERE NOT EXISTS (SELECT FROM tag t WHERE t.manifest_id = m.id)""",
    "verification runs": """
        SELECT count(*) FROM verification WHERE changed_at < now() - interval '30 days'""",
    "verification findings": """
        SELECT count(*) FROM verificationfinding f JOIN verification v ON v.id = f.verification_id
        WHERE v.changed_at < now() - interval '30 days'""",
    "notes of deletions": """
        SELECT count(*) FROM contentdeletion WHERE deleted_at < now() - interval '5 days'""",
    "ended uploads": "SELECT count(*) FROM blobupload WHERE ended",
    "rights of uploads that ended": """
        SELECT count(*) FROM uploadedblob WHERE expires_at < now()""",
    "blobs without a use": """
        SELECT count(*) FROM imagestorage s WHERE tombstone_at IS NULL
        AND NOT EXISTS (SELECT FROM manifestblob b WHERE b.blob_id = s.id)""",
}


@pytest.fixture
def busy(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """The only site of a registry with the default configuration, after a year."""
    registry: MemoryRegistry = make_registry(make_database(), tmp_path, ["us"])
    fill(registry["us"].graph.batch_database, ROWS)
    return registry["us"]


def maintain(graph: Services) -> None:
    """Run every activity several times, as its thread does: without a pause while it has more work.

    In rounds, because one activity's deletions make records of another one overdue.
    """
    for activity in [*activities(graph)] * 10:
        while activity.work() is True:
            continue


def overdue(site: MemorySite) -> dict[str, int]:
    return {name: int(site.database.read(sql)[0][0]) for name, sql in _OVERDUE.items()}


def test_maintenance_removes_every_record_past_its_retention(busy: MemorySite) -> None:
    before = overdue(busy)
    assert {name for name, count in before.items() if not count} <= {"rights of uploads that ended"}
    maintain(busy.graph)
    assert overdue(busy) == dict.fromkeys(before, 0)


def test_rotated_log_entries_are_in_files_at_the_store(busy: MemorySite) -> None:
    count = "SELECT count(*) FROM logentry"
    before = int(busy.database.read(count)[0][0])
    rotation = next(one for one in activities(busy.graph) if one.name == "log-rotation")
    rotation.work()
    after = int(busy.database.read(count)[0][0])
    assert 0 < after < before / 10
    files = [key for key in busy.stores["us"].objects if key.startswith("archive/actionlogs/")]
    assert len(files) == -(-(before - after) // 5000)

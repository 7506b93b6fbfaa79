"""A changed policy applies to stored blobs, regardless of the order of commits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.placement.policies import Policies, Policy, PolicyWatch, Subject
from atoll.placement.upkeep.backfill import Reconciler

from .sites import SUPERUSER, MemoryRegistry, make_registry

_TARGETS = """
SELECT l.name FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id ORDER BY 1
"""
_CHANGE = """
UPDATE replicationpolicy SET extra = %s::text[], changed_at = clock_timestamp()
WHERE namespace_user_id IS NOT NULL
"""


@pytest.fixture
def registry_with_one_default(make_database: Callable[[], str], tmp_path: Path) -> MemoryRegistry:
    """Sites us, eu and ap, of which only us is required."""
    changes: dict[str, object] = {"DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["us"]}
    return make_registry(make_database(), tmp_path, ["us", "eu", "ap"], changes)


def test_a_change_that_commits_after_a_later_one_is_noticed(
    registry_with_one_default: MemoryRegistry,
) -> None:
    site = registry_with_one_default["us"]
    site.push(b"content")
    database = site.database
    policies = Policies(database, ["us"])
    policies.set(Subject(SUPERUSER), Policy())
    watch = PolicyWatch(database, Reconciler(database, ["us"]))
    watch.apply_changes()
    with database.transaction() as earlier:
        earlier.execute(_CHANGE, [["eu"]])
        # A later change, of another policy, commits first.
        policies.set(Subject(SUPERUSER, site.repository.name), Policy(extra=("ap",)))
        assert watch.apply_changes() == 1
    assert watch.apply_changes() == 1
    assert [row[0] for row in database.read(_TARGETS)] == ["ap", "eu"]
    assert watch.apply_changes() == 0

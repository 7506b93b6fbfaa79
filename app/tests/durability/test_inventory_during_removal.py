"""Objects of a partially removed location are kept while the removal can be undone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from atoll.names import Digest
from atoll.placement.checks.inventory import Inventory, Orphan, RestorableObject, delete_orphan, now
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.storage.base import blob_key

from .commands import run_command
from .sites import MemoryRegistry, MemorySite

BLOBS = 10


@pytest.fixture
def digests(registry: MemoryRegistry) -> list[Digest]:
    """Blobs at eu, whose removal as a lost location was interrupted halfway."""
    site = registry["eu"]
    digests = [site.push(b"content %d" % number) for number in range(BLOBS)]
    steps = Removal(LocationTable(site.database), batch=5).steps("eu", accepted_loss=BLOBS)
    next(steps)
    next(steps)
    steps.close()
    return digests


def old_enough(site: MemorySite) -> Inventory:
    return Inventory(site.database, site.stores["eu"], now() + timedelta(hours=1))


def test_objects_with_restorable_placements_are_not_orphans(
    registry: MemoryRegistry, digests: list[Digest]
) -> None:
    del digests
    found = [entry for entry, _ in old_enough(registry["eu"]).entries()]
    assert not any(isinstance(entry, Orphan) for entry in found)
    assert sum(isinstance(entry, RestorableObject) for entry in found) == BLOBS // 2


def test_an_orphan_listed_before_the_removal_is_kept_and_its_placement_restored(
    registry: MemoryRegistry, digests: list[Digest]
) -> None:
    """A list of orphans may be older than the placements."""
    site = registry["eu"]
    for digest in digests:
        orphan = Orphan(blob_key(digest), 1)
        assert delete_orphan(orphan, site.stores["eu"], site.graph.content) is False
    Removal(LocationTable(site.database)).undo("eu")
    for digest in digests:
        assert site.placements(digest) == {"eu": "good"}
        assert site.has_object("eu", digest)


def test_deleting_orphans_is_refused_while_the_location_is_being_removed(
    registry: MemoryRegistry, digests: list[Digest], capsys: pytest.CaptureFixture[str]
) -> None:
    del digests
    words = ("inventory", "eu", "--older-than", "0s")
    assert run_command(registry["eu"], *words, "--delete-orphans") == 1
    error = capsys.readouterr().err
    assert "'eu' is being removed" in error
    assert "--undo" in error
    assert run_command(registry["eu"], *words) == 0

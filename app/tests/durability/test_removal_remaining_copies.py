"""A removal requires that remaining copies are readable, and optionally verified recently."""

from __future__ import annotations

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.names import Digest
from atoll.placement.locations.states import LocationTable
from atoll.placement.tasks import Tasks
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreUnavailable

from .commands import run_command, run_removelocation
from .sites import MemoryRegistry, MemorySite

LOCATIONS = ["us", "eu", "ap"]
REMOVE = ("remove-location", "us", "--yes")


def copy_to(site: MemorySite, location: str) -> None:
    """Copy the missing blobs of `location` from us."""
    tasks = Tasks(site.database, location)
    while claimed := tasks.claim():
        for task in claimed:
            key = blob_key(task.digest)
            site.stores[location].objects[key] = site.stores["us"].objects[key]
        tasks.finish(claimed)


@pytest.fixture
def digest(registry: MemoryRegistry) -> Digest:
    """The digest of a blob at us, which drains, and at eu."""
    digest = registry["us"].push(b"content")
    copy_to(registry["us"], "eu")
    LocationTable(registry["us"].database).set_draining("us", LOCATIONS)
    return digest


def record_heartbeat(site: MemorySite, *down: str) -> None:
    """Record an instance of `site` that finds the stores of `down` unavailable."""
    health = site.locations.health
    for location in LOCATIONS:
        refused = StoreUnavailable(location, "refused") if location in down else None
        health.end_probe(location, refused)
    Heartbeat(site.database, site.graph.bundle, "registry", health).record()


def test_removal_is_refused_while_the_only_other_copy_is_at_an_unavailable_store(
    registry: MemoryRegistry, digest: Digest, capsys: pytest.CaptureFixture[str]
) -> None:
    del digest
    site = registry["ap"]
    record_heartbeat(site, "eu")
    for words in (REMOVE, ("remove-location", "us", "--dry-run")):
        assert run_command(site, *words) == 1
        error = capsys.readouterr().err
        assert "1 blobs (7 bytes) of 'us' have their other copies only at eu" in error
        assert "--yes-unverified" in error
    assert run_removelocation(site, "us") == 1
    assert "--yes-unverified" in capsys.readouterr().err
    assert LocationTable(site.database).states()["us"] == "draining"
    assert run_command(site, *REMOVE, "--yes-unverified") == 0
    assert "us" not in LocationTable(site.database).states()


def test_removal_is_refused_while_no_site_reports_the_store_of_the_only_other_copy(
    registry: MemoryRegistry, digest: Digest, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["ap"]
    record_heartbeat(site)
    site.database.run(
        "INSERT INTO imagestoragelocation (name) VALUES ('forgotten');"
        "UPDATE imagestorageplacement p SET location_id = l.id FROM imagestoragelocation l, "
        "imagestoragelocation eu WHERE l.name = 'forgotten' AND eu.name = 'eu'"
        " AND p.location_id = eu.id"
    )
    assert site.placements(digest) == {"us": "good", "forgotten": "good"}
    assert run_command(site, *REMOVE) == 1
    assert "only at forgotten, which no site can read from" in capsys.readouterr().err


def test_removal_is_accepted_while_another_copy_is_at_an_available_store(
    registry: MemoryRegistry, digest: Digest
) -> None:
    del digest
    site = registry["ap"]
    copy_to(registry["us"], "ap")
    record_heartbeat(site, "eu")
    assert run_command(site, *REMOVE) == 0


def test_removal_is_accepted_while_one_site_reaches_the_store(
    registry: MemoryRegistry, digest: Digest
) -> None:
    del digest
    record_heartbeat(registry["ap"], "eu")
    record_heartbeat(registry["eu"])
    assert run_command(registry["ap"], *REMOVE) == 0


def test_removal_is_accepted_unattended_in_a_healthy_registry(
    registry: MemoryRegistry, digest: Digest
) -> None:
    del digest
    for site in registry.sites.values():
        record_heartbeat(site)
    assert run_command(registry["ap"], *REMOVE) == 0


def test_removal_with_verified_since_counts_recently_verified_copies_only(
    registry: MemoryRegistry, digest: Digest, capsys: pytest.CaptureFixture[str]
) -> None:
    del digest
    site = registry["ap"]
    site.database.run("UPDATE imagestorageplacement SET verified_at = now() - interval '8 days'")
    assert run_command(site, *REMOVE, "--verified-since", "7d") == 1
    error = capsys.readouterr().err
    assert "1 blobs (7 bytes) of 'us' have no other copy that was verified that recently" in error
    assert "atoll verify --full" in error
    assert run_command(site, *REMOVE, "--verified-since", "a while") == 1
    assert "--verified-since must be a number and" in capsys.readouterr().err
    assert run_command(site, *REMOVE, "--verified-since", "9d") == 0


def test_removal_with_check_objects_verifies_sole_remaining_objects(
    registry: MemoryRegistry, digest: Digest, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["ap"]
    content = site.stores["eu"].objects.pop(blob_key(digest))
    assert run_command(site, *REMOVE, "--check-objects") == 1
    error = capsys.readouterr().err
    assert "1 of 1 copies that would remain alone are wrong" in error
    assert str(digest)[:20] in error
    assert LocationTable(site.database).states()["us"] == "draining"
    site.stores["eu"].objects[blob_key(digest)] = content
    assert run_command(site, *REMOVE, "--check-objects") == 0


def test_removal_does_not_verify_objects_with_two_remaining_copies(
    registry: MemoryRegistry, digest: Digest
) -> None:
    copy_to(registry["us"], "ap")
    site = registry["ap"]
    del site.stores["eu"].objects[blob_key(digest)]
    assert run_command(site, *REMOVE, "--check-objects") == 0


def test_checks_are_refused_for_a_lost_store(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--verified-since", "1d"], ["--check-objects"], ["--yes-unverified"]):
        assert run_command(registry["ap"], "remove-location", "us", "--lost", *words) == 1
        assert "do not go with --lost" in capsys.readouterr().err

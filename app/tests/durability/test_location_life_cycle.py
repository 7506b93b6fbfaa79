"""The life cycle of a location: usage, drain, loss and status, tested by commands."""

from __future__ import annotations

import json

import pytest
from atoll.cluster.instances import Heartbeat, Instances
from atoll.names import Digest
from atoll.placement.locations.errors import StoreUnreachable
from atoll.placement.status import StatusReporter
from atoll.placement.tasks import Tasks
from atoll.registry.errors import ManifestUnknown
from atoll.registry.image_completeness import ImageCompleteness
from atoll.storage.errors import StoreUnavailable

from .commands import run_command
from .sites import MANIFEST_TYPE, SUPERUSER, MemoryRegistry, MemorySite, image_manifest

LOCATIONS = ["us", "eu", "ap"]


def push_image(site: MemorySite) -> str:
    """Push an image with one layer under the tag latest, and return its digest."""
    config, layer = b"{}", b"a layer"
    for content in (config, layer):
        site.push(content)
    content = image_manifest(config, [layer])
    site.graph.dependencies().manifests.put(
        site.repository, "latest", content, MANIFEST_TYPE, tags=[], username=SUPERUSER
    )
    return str(Digest.of(content))


def copy_to(site: MemorySite, location: str) -> None:
    """Record the missing copies of `location`, as its worker does."""
    tasks = Tasks(site.database, location)
    while claimed := tasks.claim():
        tasks.finish(claimed)


def report(site: MemorySite, *unavailable: str) -> None:
    """Record a heartbeat of `site`, which can read from all stores except these."""
    health = site.locations.health
    for location in LOCATIONS:
        refused = StoreUnavailable(location, "refused") if location in unavailable else None
        health.end_probe(location, refused)
    Heartbeat(site.database, site.graph.bundle, "registry", health).record()


def test_an_image_is_complete_at_locations_with_all_its_blobs(registry: MemoryRegistry) -> None:
    site = registry["us"]
    digest = push_image(site)
    completeness = ImageCompleteness(site.database, LOCATIONS)
    for reference in ("latest", digest):
        found = completeness.of(site.repository, reference)
        assert found.digest == digest
        missing = {one.location: one.missing_blobs for one in found.locations}
        assert missing == {"us": 0, "eu": 2, "ap": 2}
        assert not found.complete
    copy_to(site, "eu")
    copy_to(site, "ap")
    assert completeness.of(site.repository, "latest").complete
    with pytest.raises(ManifestUnknown):
        completeness.of(site.repository, "none")


def test_a_drain_is_refused_while_no_instance_can_read_from_the_store(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["us"]
    site.push(b"content")
    report(registry["eu"], "us")
    with pytest.raises(StoreUnreachable, match="no site reaches its store"):
        site.graph.location_life_cycle.drain("us")
    assert run_command(site, "drain", "us", "--wait") == 1
    assert "atoll remove-location us --lost" in capsys.readouterr().err
    assert site.graph.location_life_cycle.states()["us"] == "active"


def test_a_drain_with_wait_returns_when_every_blob_has_another_copy(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["us"]
    site.push(b"content")
    assert run_command(site, "drain", "us", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["drained"], found["blobs"], found["bytes"]) == (False, 1, 7)
    copy_to(site, "eu")
    assert run_command(site, "drain", "us", "--wait", "--json") == 0
    assert json.loads(capsys.readouterr().out)["drained"] is True
    assert run_command(site, "locations", "--json") == 0
    usage = {row["location"]: row for row in json.loads(capsys.readouterr().out)}
    assert (usage["us"]["state"], usage["us"]["only_there"]) == ("draining", 0)
    assert usage["ap"]["missing_blobs"] == 1


def test_a_loss_is_accepted_by_its_exact_number_and_listed_afterwards(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["us"]
    push_image(site)
    words = ("remove-location", "us", "--lost", "--accept-loss")
    assert run_command(registry["eu"], *words, "1") == 1
    assert "2 blobs would be lost with 'us', not 1" in capsys.readouterr().err
    report(site)
    assert run_command(registry["eu"], *words, "2") == 1
    assert "the store of 'us' answers" in capsys.readouterr().err
    Instances(site.database).forget_site("us")
    assert run_command(registry["eu"], *words, "2") == 0
    capsys.readouterr()
    assert run_command(registry["eu"], "lost", "--json") == 0
    assert json.loads(capsys.readouterr().out)["blobs"] == 2


def test_the_status_reports_an_unavailable_store_as_a_problem(registry: MemoryRegistry) -> None:
    site = registry["us"]
    site.push(b"content")
    report(site, "eu")
    found = StatusReporter(site.database).report()
    assert "finds the store of eu down: " in str(found.problems())
    assert {entry.location: entry.pending_blobs for entry in found.locations}["ap"] == 1

"""The API shows, drains and activates locations, and previews a loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll import round_trips
from atoll.auth import users
from atoll.cluster.instances import Heartbeat
from atoll.placement.locations.contents import ContentsQuery
from atoll.placement.tasks import Tasks
from atoll.storage.errors import StoreFull, StoreUnavailable, StoreUnreachable
from atoll.storage.health import StoreHealth

from .api_client import PASSWORD, ApiClient
from .commands import run_command
from .mirror_images import push_image
from .sites import MemorySite, make_registry

LOCATIONS = ["us", "eu"]
AUDITOR = "auditor"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with one image at both locations, and one that only us has."""
    changes = {"GLOBAL_READONLY_SUPER_USERS": [AUDITOR]}
    site = make_registry(make_database(), tmp_path, LOCATIONS, changes)["us"]
    users.create_user(site.database, AUDITOR, None, PASSWORD)
    push_image(site, "copied", "copied")
    copy_to(site, "eu")
    push_image(site, "new", "new")
    return site


def copy_to(site: MemorySite, location: str) -> None:
    tasks = Tasks(site.database, location)
    while claimed := tasks.claim():
        tasks.finish(claimed)


def listed(site: MemorySite) -> dict[str, Any]:
    found = ApiClient(site).call("GET", "superuser/locations")["locations"]
    return {one["location"]: one for one in found}


def test_each_location_has_its_copies_and_its_pending_work(site: MemorySite) -> None:
    found = listed(site)
    assert [(found[name]["blobs"], found[name]["pending_blobs"]) for name in LOCATIONS] == [
        (4, 0),
        (2, 2),
    ]
    us = found["us"]
    assert us["bytes"] == sum(map(len, (b"config copied", b"layer copied", b"config new"))) + len(
        b"layer new"
    )
    assert (us["state"], us["required"], us["estimated"], us["quarantined"]) == (
        "active",
        True,
        False,
        0,
    )
    assert us["verified_since"]
    assert ApiClient(site).call("GET", "superuser/locations/us") == us


def test_each_location_has_its_store_as_each_instance_sees_it(site: MemorySite) -> None:
    site.locations.health.end_probe("us", None)
    site.locations.health.end_probe("eu", StoreUnavailable("eu", "refused"))
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()
    found = listed(site)
    assert [one["up"] for one in found["us"]["seen_by"]] == [True]
    assert [(one["up"], one["serves"]) for one in found["eu"]["seen_by"]] == [(False, False)]
    assert found["eu"]["down_at"]


def test_each_site_has_the_worst_state_that_its_instances_see(site: MemorySite) -> None:
    healthy, failing = StoreHealth(LOCATIONS), StoreHealth(LOCATIONS)
    for health in (healthy, failing):
        health.end_probe("us", None)
    healthy.end_probe("eu", None)
    failing.end_probe("eu", StoreUnreachable("eu", "refused"))
    for role, health in (("registry", healthy), ("replication", failing)):
        Heartbeat(site.database, site.graph.bundle, role, health).record()
    found = ApiClient(site, AUDITOR).call("GET", "superuser/locations/eu")
    (seen,) = found["sites"]
    assert (seen["site"], seen["state"], seen["cause"]) == ("us", "down", "refused")
    assert (seen["instances"], seen["of_instances"]) == (1, 2)
    assert seen["since"] is not None
    (healthy_site,) = listed(site)["us"]["sites"]
    assert (healthy_site["state"], healthy_site["cause"]) == ("up", None)
    assert {one["slow"] for one in found["seen_by"]} == {False}


def test_a_full_store_and_a_read_only_one_are_told_apart(site: MemorySite) -> None:
    health = site.locations.health
    health.end_probe("us", None)
    health.observe("us", StoreFull("us", "no space left"), write=True)
    health.end_probe("eu", None)
    health.begin_probe("eu")
    health.end_probe("eu", StoreUnavailable("eu", "it answered 403"), readable=True)
    Heartbeat(site.database, site.graph.bundle, "registry", health).record()
    found = listed(site)
    assert [found[name]["sites"][0]["state"] for name in LOCATIONS] == ["full", "read-only"]
    assert [found[name]["seen_by"][0]["full"] for name in LOCATIONS] == [True, False]


def test_a_store_whose_probe_has_no_answer_is_unresponsive_before_it_is_down(
    site: MemorySite,
) -> None:
    time = [0.0]
    health = StoreHealth(list(LOCATIONS), monotonic=lambda: time[0])
    health.end_probe("eu", None)
    health.begin_probe("eu")
    time[0] = 30.0
    Heartbeat(site.database, site.graph.bundle, "registry", health).record()
    assert listed(site)["eu"]["sites"][0]["state"] == "unresponsive"
    health.end_probe("eu", StoreUnreachable("eu", "no route to host"))
    Heartbeat(site.database, site.graph.bundle, "replication", health).record()
    assert listed(site)["eu"]["sites"][0]["state"] == "down"


def test_a_site_whose_instances_are_lost_does_not_know_the_store(site: MemorySite) -> None:
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()
    site.database.run("UPDATE instance SET seen_at = now() - interval '5 minutes' RETURNING 1")
    (seen,) = listed(site)["us"]["sites"]
    assert (seen["site"], seen["state"], seen["of_instances"]) == ("us", "unknown", 0)


def test_an_instance_of_an_earlier_version_reports_what_it_knows(site: MemorySite) -> None:
    site.database.run(
        "INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint, stores)"
        " VALUES (gen_random_uuid(), 'registry', 'old', '0.1', '{us}', '{}',"
        ' \'{"us": {"up": true, "cause": null}}\')'
    )
    (seen,) = listed(site)["us"]["seen_by"]
    assert (seen["up"], seen["serves"], seen["slow"], seen["latency_seconds"]) == (
        True,
        None,
        None,
        None,
    )
    assert listed(site)["us"]["sites"][0]["state"] == "up"


def test_the_copies_of_all_locations_cost_two_statements(site: MemorySite) -> None:
    round_trips.reset()
    ContentsQuery(site.database).run()
    assert round_trips.counts()[round_trips.DATABASE] == 2


def test_a_drain_reports_what_remains_and_an_activation_ends_it(site: MemorySite) -> None:
    client = ApiClient(site)
    drained = client.call("POST", "superuser/locations/us/drain", {"location": "us"})
    assert drained == {
        "location": "us",
        "state": "draining",
        "remaining_blobs": 2,
        "remaining_bytes": len(b"config new") + len(b"layer new"),
        "open_uploads": 0,
    }
    assert listed(site)["us"]["state"] == "draining"
    client.call("POST", "superuser/locations/us/activate", {"location": "us"})
    assert listed(site)["us"]["state"] == "active"
    logged = client.call("GET", "superuser/logs")["logs"]
    assert [
        one["metadata"]["state"] for one in logged if one["kind"] == "change_location_state"
    ] == ["active", "draining"]


@pytest.mark.parametrize("change", ["drain", "activate"])
def test_a_change_is_refused_unless_the_name_is_repeated(site: MemorySite, change: str) -> None:
    client = ApiClient(site)
    for body in ({}, {"location": "eu"}):
        refused = client.call("POST", f"superuser/locations/us/{change}", body, status=400)
        assert "location" in refused["detail"]
    path = f"superuser/locations/none/{change}"
    client.call("POST", path, {"location": "none"}, status=404)
    assert {one["state"] for one in listed(site).values()} == {"active"}


def test_a_refused_drain_has_the_reason_of_the_command_line(site: MemorySite) -> None:
    client = ApiClient(site)
    client.call("POST", "superuser/locations/eu/drain", {"location": "eu"})
    refused = client.call("POST", "superuser/locations/us/drain", {"location": "us"}, status=409)
    assert "'us' is the only location where blobs must be" in refused["detail"]
    assert listed(site)["us"]["state"] == "active"


def test_a_preview_equals_the_loss_that_the_command_line_prints(
    site: MemorySite, capsys: pytest.CaptureFixture[str]
) -> None:
    for location in LOCATIONS:
        preview = ApiClient(site).call("GET", f"superuser/locations/{location}/loss")
        run_command(site, "locations", "remove", location, "--lost", "--dry-run", "--json")
        printed = json.loads(capsys.readouterr().out)
        assert (preview["blobs"], preview["bytes"]) == (printed["blobs"], printed["bytes"])
        assert preview["lost_images"] == printed["lost_images"]
        assert preview["lost_blobs"] == printed["lost_blobs"]
        assert preview["repositories"] == len(printed["repositories"])
        assert preview["images"] == len(printed["lost_images"])
    us = ApiClient(site).call("GET", "superuser/locations/us/loss", query={"limit": 1})
    assert (us["blobs"], us["good_blobs"], us["images"], us["tags"]) == (2, 2, 1, 1)
    assert (len(us["lost_blobs"]), len(us["lost_images"])) == (1, 1)
    ApiClient(site).call("GET", "superuser/locations/none/loss", status=404)


def test_only_superusers_see_and_change_locations(site: MemorySite) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    body = {"location": "us"}
    for name, status in ((None, 401), ("bob", 403)):
        client = ApiClient(site, name)
        for path in ("", "/us", "/us/loss"):
            client.call("GET", f"superuser/locations{path}", status=status)
        for change in ("drain", "activate"):
            client.call("POST", f"superuser/locations/us/{change}", body, status=status)


def test_auditors_see_locations_and_previews_and_change_nothing(site: MemorySite) -> None:
    auditor, superuser = ApiClient(site, AUDITOR), ApiClient(site)
    assert [
        one["location"] for one in auditor.call("GET", "superuser/locations")["locations"]
    ] == list(listed(site))
    for path in ("superuser/locations/us", "superuser/locations/us/loss"):
        assert auditor.call("GET", path) == superuser.call("GET", path)
    for change in ("drain", "activate"):
        path = f"superuser/locations/us/{change}"
        auditor.call("POST", path, {"location": "us"}, status=403)
    assert listed(site)["us"]["state"] == "active"

"""Operators see the guarantees with live figures, which change with what is measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.web.panel.guarantees import MEASURED

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_site import AUDITOR, READER, make_panel_site
from .sites import MemorySite

HERE = "/superuser/guarantees"
DOCUMENTATION = Path(__file__).parents[3] / "docs/explanation/guarantees.md"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    site = make_panel_site(make_database(), tmp_path)
    beat(site, "registry")
    return site


def beat(site: MemorySite, role: str, **changes: str) -> None:
    """Send a heartbeat of an instance, whose bundle has the changed keys."""
    fingerprint = {**site.graph.bundle.fingerprint, **changes}
    bundle = site.graph.bundle.model_copy(update={"fingerprint": fingerprint})
    Heartbeat(site.database, bundle, role, site.locations.health).record()


def found(site: MemorySite) -> dict[str, dict[str, Any]]:
    listed = ApiClient(site).call("GET", HERE[1:])["guarantees"]
    return {one["id"]: one for one in listed}


def states(site: MemorySite) -> dict[str, str]:
    """Return the guarantees that are not kept."""
    return {name: one["state"] for name, one in found(site).items() if one["state"] != "kept"}


def figures(site: MemorySite, guarantee: str) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in found(site)[guarantee]["figures"]}


def test_a_healthy_registry_keeps_all_guarantees(site: MemorySite) -> None:
    assert states(site) == {}
    assert figures(site, "G1") == {
        "blobs without a good copy": 0,
        "blobs with a copy in quarantine": 0,
    }
    assert figures(site, "G3")["all copies verified since"].endswith("+00:00")
    assert figures(site, "G5")["running instances"] == 1
    assert figures(site, "G7")["time until an unused blob is collected"] == 86400


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("UPDATE imagestorageplacement SET state = 'suspect'", {"G1": "broken", "G3": "at risk"}),
        (
            "INSERT INTO lostblob SELECT id, 'us' FROM imagestorage RETURNING storage_id",
            {"G6": "broken"},
        ),
        (
            "DELETE FROM imagestorageplacement RETURNING id; INSERT INTO lostblob"
            " SELECT id, 'us' FROM imagestorage RETURNING storage_id",
            {"G1": "broken", "G6": "broken"},
        ),
        (
            "INSERT INTO placementdoubt (storage_id, location_id, doubted_by, reason)"
            " SELECT storage_id, location_id, 'eu', 'wrong' FROM imagestorageplacement",
            {"G3": "at risk"},
        ),
        (
            "INSERT INTO replicationtask (storage_id, location_id, created_at, available_at)"
            " SELECT s.id, l.id, now() - interval '1 hour', now() - interval '1 hour'"
            " FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu'",
            {"G2": "at risk"},
        ),
        (
            "UPDATE instance SET stores = jsonb_set(stores::jsonb, '{us}', '{\"up\": false,"
            ' "serves": false, "cause": "refused"}\')',
            {"G4": "broken"},
        ),
        (
            "UPDATE instance SET seen_at = now() - interval '1 hour'",
            {"G4": "unknown", "G5": "at risk", "G8": "unknown"},
        ),
    ],
)
def test_a_failure_is_measured(site: MemorySite, change: str, expected: dict[str, str]) -> None:
    site.database.run(change)
    assert states(site) == expected


def test_another_bundle_or_version_puts_one_configuration_at_risk(site: MemorySite) -> None:
    beat(site, "replication")
    assert states(site) == {}
    beat(site, "mirror", SERVER_HOSTNAME="0" * 64)
    assert states(site) == {"G8": "at risk"}
    assert figures(site, "G8") == {"instances whose bundle differs": 1, "versions that run": 1}
    site.database.run("UPDATE instance SET version = '0.0' WHERE role = 'mirror'")
    assert figures(site, "G8")["versions that run"] == 2


def test_deletions_without_a_grace_time_are_at_risk(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    site = make_panel_site(make_database(), tmp_path, {"GARBAGE_COLLECTION_GRACE": "0s"})
    assert states(site)["G7"] == "at risk"


def test_guarantees_of_instances_are_unknown_before_the_first_heartbeat(
    site: MemorySite,
) -> None:
    site.database.run("DELETE FROM instance")
    assert states(site) == dict.fromkeys(("G4", "G5", "G8"), "unknown")
    assert "unknown" in PanelBrowser(site, AUDITOR).text(HERE)


def test_the_page_shows_each_guarantee_and_how_it_is_measured(site: MemorySite) -> None:
    answer = PanelBrowser(site, AUDITOR).get(HERE)
    for name, one in found(site).items():
        assert f'id="{name}"' in answer.text
        assert one["text"] in answer.text
    assert answer.text.count("How this is measured") == 9
    assert statements(answer) <= 16


def test_the_documentation_has_a_section_for_each_guarantee(site: MemorySite) -> None:
    text = re.sub(r"\s+", " ", DOCUMENTATION.read_text())
    assert found(site).keys() == MEASURED.keys()
    for name, one in found(site).items():
        assert f"## {name} **{one['text'].removesuffix('.')}" in text


def test_only_operators_see_guarantees(site: MemorySite) -> None:
    for user, status, api in ((AUDITOR, 200, 200), (READER, 403, 403), (None, 303, 401)):
        PanelBrowser(site, user).get(HERE, status=status)
        ApiClient(site, user).call("GET", HERE[1:], status=api)

"""Operators see what garbage collection has still to do, in the panel and by the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_site import AUDITOR, READER, make_panel_site
from .sites import SUPERUSER, MemorySite

HERE = "/superuser/garbage"
REASON = "<b>the store refused</b>"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with garbage of each stage."""
    site = make_panel_site(make_database(), tmp_path, locations=["us", "eu"])
    site.push(b"unused")
    site.database.run(
        "UPDATE imagestorage SET tombstone_at = now() - interval '1 hour' WHERE image_size = 6"
        " RETURNING id"
    )
    site.database.run("UPDATE manifest SET deleted_at = now() - interval '2 hours' RETURNING id")
    site.database.run(
        "INSERT INTO objectdeletion (storage_id, location_id, available_at, last_error)"
        " SELECT s.id, l.id, now() + CASE l.name WHEN 'us' THEN interval '-1 h' ELSE '1 h' END,"
        " CASE l.name WHEN 'us' THEN %s END FROM imagestorage s, imagestoragelocation l"
        " WHERE s.image_size <> 6 RETURNING id",
        [REASON],
    )
    return site


def test_the_api_reports_each_stage(site: MemorySite) -> None:
    found = ApiClient(site).call("GET", HERE[1:])
    assert found["enabled"] is True
    assert (found["grace_seconds"], found["failover_window_seconds"]) == (86400, 3600)
    assert (found["deleted_manifests"], found["marked_blobs"], found["marked_bytes"]) == (2, 1, 6)
    assert found["oldest_deleted_at"] < found["oldest_marked_at"]
    us, eu = found["locations"][:2]
    assert (us["location"], us["objects"], us["due"], us["failing"]) == ("us", 1, 1, 1)
    assert us["last_error"] == REASON
    assert (eu["location"], eu["objects"], eu["due"], eu["failing"]) == ("eu", 1, 0, 0)


def test_a_queue_without_objects_has_no_oldest_one(site: MemorySite) -> None:
    site.database.run("DELETE FROM objectdeletion RETURNING id")
    found = ApiClient(site).call("GET", HERE[1:])["locations"][0]
    assert (found["objects"], found["oldest_at"], found["last_error"]) == (0, None, None)


def test_the_page_shows_the_stages_and_escapes_reasons(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    answer = browser.get(HERE)
    assert REASON not in answer.text
    assert REASON in browser.text(HERE)
    assert statements(answer) <= 3
    assert "failing" in answer.text
    assert "waiting" in answer.text


def test_collection_that_is_disabled_is_shown_as_such(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    changes = {"FEATURE_GARBAGE_COLLECTION": False}
    site = make_panel_site(make_database(), tmp_path, changes)
    assert "FEATURE_GARBAGE_COLLECTION" in PanelBrowser(site, AUDITOR).text(HERE)


def test_only_operators_see_garbage(site: MemorySite) -> None:
    for user, status, api in ((AUDITOR, 200, 200), (READER, 403, 403), (None, 303, 401)):
        PanelBrowser(site, user).get(HERE, status=status)
        ApiClient(site, user).call("GET", HERE[1:], status=api)

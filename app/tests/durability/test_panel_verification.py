"""Operators see the scrub, runs of the verification and wrong copies, in the panel and the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest
from atoll.placement.checks import missing_blobs, verification_status
from atoll.placement.checks.repair import change_states, heal
from atoll.placement.checks.scrub import TAKE
from atoll.placement.checks.verify import COLUMNS, PlacementCheck, Scope, begin, record

from .api_client import ApiClient
from .panel_browser import PanelBrowser
from .panel_site import AUDITOR, READER, make_panel_site
from .query_costs import examined
from .sites import SUPERUSER, MemorySite

HERE = "/superuser/verification"
REASON = "<b>wrong digest</b>"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_panel_site(make_database(), tmp_path, locations=["us", "eu"])


def placement(site: MemorySite, digest: Digest) -> PlacementCheck:
    rows = site.database.read(
        f"SELECT {COLUMNS} FROM imagestorageplacement p JOIN imagestorage s ON s.id = p.storage_id"
        " JOIN imagestoragelocation l ON l.id = p.location_id WHERE s.content_checksum = %s",
        [str(digest)],
    )
    return PlacementCheck.from_row(rows[0])


def report(site: MemorySite) -> dict[str, Any]:
    return dict(ApiClient(site).call("GET", HERE[1:]))


def wrong_copy(site: MemorySite) -> Digest:
    """Let a run find a wrong copy, and quarantine it."""
    digest = site.push(b"damaged")
    run = begin(site.database, Scope(location="us", full=True))
    run.done = run.last = 10**6
    found = PlacementCheck(**{**vars(placement(site, digest)), "result": "wrong digest"})
    record(site.database, run, [found])
    assert [one.changed for one in heal(site.database, run, spared=[], queue=False)] == [True]
    return digest


def test_the_scrub_of_each_location_is_reported(site: MemorySite) -> None:
    us, eu = report(site)["locations"][:2]
    assert (us["location"], us["read_at"], us["pass_started_at"]) == ("us", None, None)
    assert us["verified_since"].endswith("+00:00")
    assert eu["verified_since"] is None
    site.database.run(TAKE, {"location": "us", "state": "good", "age": 0, "limit": 1})
    site.database.run(TAKE, {"location": "us", "state": "good", "age": -1, "limit": 1})
    us = report(site)["locations"][0]
    assert us["pass_started_at"] is not None
    assert us["read_at"] is not None
    assert (us["quarantined"], us["doubted"]) == (0, 0)


def test_a_run_and_its_findings_are_reported(site: MemorySite) -> None:
    digest = wrong_copy(site)
    begin(site.database, Scope(namespace="acme", sample=5))
    found = report(site)
    unfinished, finished = found["runs"]
    assert (unfinished["namespace"], unfinished["sample"], unfinished["progress"]) == ("acme", 5, 0)
    assert unfinished["finished_at"] is None
    assert (finished["location"], finished["full"], finished["progress"]) == ("us", True, 1)
    (counts,) = finished["counts"]
    assert (counts["location"], counts["wrong_digest"], counts["verified"]) == ("us", 1, 0)
    (finding,) = found["findings"]
    assert (finding["digest"], finding["defect"], finding["run"]) == (
        str(digest), "wrong digest", finished["id"],
    )  # fmt: skip
    (copy,) = found["quarantined"]
    assert (copy["digest"], copy["location"], copy["bytes"]) == (str(digest), "us", 7)
    assert copy["good_elsewhere"] is False
    assert found["locations"][0]["quarantined"] == 1


def test_a_change_of_a_background_check_is_named_as_such(site: MemorySite) -> None:
    wrong = PlacementCheck(**{**vars(placement(site, site.push(b"1"))), "result": "missing"})
    assert len(list(change_states(site.database, "us", [wrong]))) == 1
    (run,) = report(site)["runs"]
    assert run["sample"] == 0
    assert ">background check<" in PanelBrowser(site, SUPERUSER).text(HERE)


def test_a_doubted_copy_has_the_site_and_the_reason(site: MemorySite) -> None:
    site.database.run(
        "INSERT INTO placementdoubt (storage_id, location_id, doubted_by, reason)"
        " SELECT storage_id, location_id, 'eu', %s FROM imagestorageplacement RETURNING storage_id",
        [REASON],
    )
    (doubt,) = report(site)["doubted"]
    assert (doubt["location"], doubt["doubted_by"], doubt["reason"]) == ("us", "eu", REASON)
    assert doubt["attempted_at"] is None
    browser = PanelBrowser(site, SUPERUSER)
    assert REASON not in browser.get(HERE).text
    assert REASON in browser.text(HERE)


def test_the_page_shows_runs_and_wrong_copies(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    page = browser.text(HERE)
    assert "all copies right" in page
    assert "No run in the last 30 days" in page
    digest = wrong_copy(site)
    begin(site.database, Scope())
    page = browser.text(HERE)
    assert "found wrong copies" in page
    assert "none left" in page
    assert "at 0%, or interrupted" in page
    assert page.count(f'title="{digest}"') == 2
    copies, findings = ({"limit": 0}, {"runs": 0})
    client = ApiClient(site)
    assert client.call("GET", HERE[1:], query=copies)["quarantined"] == []
    assert client.call("GET", HERE[1:], query=findings)["runs"] == []
    client.call("GET", HERE[1:], query={"limit": 501}, status=400)


def test_the_cost_of_listing_wrong_copies_depends_on_the_limit_only(site: MemorySite) -> None:
    database, limit = site.database, {"limit": 20}
    run = begin(database, Scope())
    database.run(
        "INSERT INTO imagestorage (content_checksum, image_size)"
        " SELECT 'sha256:' || lpad(number::text, 64, '0'), 7"
        " FROM generate_series(1, 3000) AS number;"
        " INSERT INTO imagestorageplacement (storage_id, location_id, state)"
        " SELECT s.id, l.id, 'suspect' FROM imagestorage s, imagestoragelocation l"
        " WHERE s.image_size = 7 AND l.name IN ('us', 'eu');"
        " INSERT INTO placementdoubt (storage_id, location_id, doubted_by, reason)"
        " SELECT storage_id, location_id, 'ap', 'wrong' FROM imagestorageplacement"
        " WHERE state = 'suspect'"
    )
    database.run(
        "INSERT INTO verificationfinding SELECT %s, id, verified_at, 'missing'"
        " FROM imagestorageplacement WHERE state = 'suspect'",
        [run.id],
    )
    database.run("ANALYZE imagestorage, imagestorageplacement, placementdoubt, verificationfinding")
    for statement in (
        verification_status._QUARANTINED,
        verification_status._DOUBTED,
        verification_status._FINDINGS,
        missing_blobs._COUNT,
    ):
        assert examined(database, statement, limit) < 200
    assert len(report(site)["findings"]) == 50


def test_a_disabled_scrub_is_shown_as_such(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    site = make_panel_site(make_database(), tmp_path, {"BACKGROUND_VERIFICATION_RATE": 0})
    assert "BACKGROUND_VERIFICATION_RATE" in PanelBrowser(site, AUDITOR).text(HERE)


def test_only_operators_see_verification(site: MemorySite) -> None:
    for user, status, api in ((AUDITOR, 200, 200), (READER, 403, 403), (None, 303, 401)):
        PanelBrowser(site, user).get(HERE, status=status)
        ApiClient(site, user).call("GET", HERE[1:], status=api)

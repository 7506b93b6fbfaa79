"""Operators see all mirrors and the budgets of upstreams in the panel, and run mirrors there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .api_client import ApiClient
from .mirrors import add_mirror, add_run
from .panel_browser import statements
from .panel_forms import HOSTILE, Browsers, check_escaped
from .panel_site import AUDITOR, READER
from .sites import SUPERUSER, MemorySite

HERE = "/superuser/mirrors"
MIRROR = f"/repository/{SUPERUSER}/%s?tab=mirroring"


@pytest.fixture
def browsers(panel_site: MemorySite) -> Iterator[Browsers]:
    """Browsers of a site with three mirrors of repositories, of which one fails and one runs."""
    failed = {"sync_status": "FAIL", "reason": "partial", "status_message": HOSTILE}
    add_mirror(panel_site.database, "failing", retries_remaining=1, **failed)
    add_mirror(panel_site.database, "fresh", sync_status="SUCCESS")
    running = add_mirror(panel_site.database, "running")
    add_run(panel_site.database, running, tags_total=8, tags_copied=2, tags_failed=1)
    panel_site.database.run(
        "INSERT INTO upstream (host, account, route, remaining, allowance, remaining_at, pulls,"
        " period_ends, blocked_until) VALUES ('registry.example', 'buyer', '', 76, 200,"
        " '2026-01-02T03:04Z', 63, '2031-01-02T14:20Z', '2031-05-06T07:08Z')"
    )
    yield Browsers(panel_site)
    panel_site.database.run(
        "DELETE FROM upstream; DELETE FROM repomirrorconfig;"
        " DELETE FROM repository WHERE name IN ('failing', 'fresh', 'running')"
    )


def status(site: MemorySite, name: str) -> str:
    found = ApiClient(site).call("GET", "superuser/mirrors")["mirrors"]
    return str(next(one["sync_status"] for one in found if one["repository"] == f"admin/{name}"))


def test_each_mirror_has_its_state_and_reason(browsers: Browsers) -> None:
    browser = browsers[SUPERUSER]
    text = browser.text(HERE)
    assert "3 of 8 tags, 1 failed" in text
    assert "1 retry left" in text
    check_escaped(browser, HERE)
    failing = browser.text(f"{HERE}?status=FAIL")
    assert "admin/failing" in failing
    assert "admin/running" not in failing
    browser.get(f"{HERE}?status=LATE", status=400)
    assert f'href="{HERE}"' in browser.text("/superuser")


def test_each_upstream_has_its_remaining_pulls_and_pause(browsers: Browsers) -> None:
    text = browsers[AUDITOR].text(HERE)
    for shown in (
        "37 of 100 left, until <time",
        "2031-01-02 14:20 UTC",
        "76 of 200 left, as announced <time",
        "2026-01-02 03:04 UTC",
        "until <time",
        "2031-05-06 07:08 UTC",
        "buyer",
    ):
        assert shown in text, shown


def test_superusers_request_and_cancel_runs_from_the_list(
    browsers: Browsers, panel_site: MemorySite
) -> None:
    browser, form = browsers[SUPERUSER], {"action": "sync", "next": HERE}
    path = MIRROR % "fresh"
    assert f'action="{path}"' in browser.text(HERE)
    assert browser.submit(path, form, page=HERE) == HERE
    assert status(panel_site, "fresh") == "SYNC_NOW"
    assert browser.submit(path, {**form, "action": "cancel"}, page=HERE) == HERE
    assert status(panel_site, "fresh") == "CANCEL"


def test_only_operators_see_mirrors_and_only_superusers_the_buttons(browsers: Browsers) -> None:
    assert "Sync now" in browsers[SUPERUSER].text(HERE)
    auditor = browsers[AUDITOR].text(HERE)
    assert "admin/fresh" in auditor
    assert "Sync now" not in auditor
    browsers[READER].get(HERE, status=403)
    browsers[None].get(HERE, status=303)


def test_the_page_costs_the_same_for_any_number_of_mirrors(
    browsers: Browsers, panel_site: MemorySite
) -> None:
    browser = browsers[SUPERUSER]
    before = statements(browser.get(HERE))
    for number in range(60):
        add_mirror(panel_site.database, f"many{number:02}")
    answer = browser.get(HERE)
    # An authentication, two for the health, and one for each list.
    assert (before, statements(answer)) == (6, 6)
    assert "admin/many47" in answer.text
    assert "admin/running" not in answer.text
    after = f"{HERE}?mirrors_after=admin%2Fmany47"
    assert after in answer.text
    assert "admin/running" in browser.text(after)
    panel_site.database.run(
        "DELETE FROM repomirrorconfig; DELETE FROM repository WHERE name LIKE 'many%%'", {}
    )


@pytest.mark.parametrize("path", [HERE, MIRROR % "failing"])
def test_an_open_page_is_sent_again_only_if_a_mirror_has_changed(
    browsers: Browsers, panel_site: MemorySite, path: str
) -> None:
    browser = browsers[SUPERUSER]
    shown = {"If-None-Match": browser.get(path).headers["etag"]}
    for _ in range(2):
        assert browser.request("GET", path, headers=shown).status_code == 304
    ApiClient(panel_site).call("POST", "repository/admin/failing/mirror/sync-now", status=204)
    assert browser.request("GET", path, headers=shown).status_code == 200

"""Operators see the lag of locations over time and failing copies, and retry these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.placement.upkeep.lag import lag
from atoll.placement.upkeep.lag_samples import LagSamples

from .mirror_images import push_image
from .panel_browser import PanelBrowser
from .panel_site import AUDITOR, READER, make_panel_site
from .sites import SUPERUSER, MemorySite

HERE = "/superuser/replication"
REASON = "<b>the store refused</b>"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with copies that are pending, and fail until the next hour."""
    site = make_panel_site(make_database(), tmp_path, locations=["us", "eu"])
    push_image(site, "new", "new")
    site.database.run(
        "UPDATE replicationtask SET last_error = %s, available_at = now() + interval '1 hour'"
        " RETURNING id",
        [REASON],
    )
    return site


def test_failing_copies_have_their_reason_and_are_retried(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    page = browser.get(HERE).text
    assert REASON not in page
    assert REASON in browser.text(HERE)
    assert browser.submit(f"{HERE}/retry", {}, page=HERE) == f"{HERE}#failing"
    due = "SELECT bool_and(available_at <= now()) FROM replicationtask"
    assert site.database.read(due) == [[True]]


def test_a_curve_has_the_samples_of_the_period(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    assert "<polyline" not in browser.text(HERE)
    LagSamples(site.database).record(lag(site.database))
    for hours in (1, 24, 168):
        assert "<polyline" in browser.text(f"{HERE}?hours={hours}")
    browser.get(f"{HERE}?hours=5", status=400)


def test_only_operators_see_replication_and_only_superusers_retry(site: MemorySite) -> None:
    for user, status in ((AUDITOR, 200), (READER, 403), (None, 303)):
        browser = PanelBrowser(site, user)
        browser.get(HERE, status=status)
        answer = browser.send(f"{HERE}/retry", {}, token=browser.token())
        assert answer.status_code == (303 if user is None else 403)

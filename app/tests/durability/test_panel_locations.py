"""Operators drain and activate locations in the panel; a change needs the name and the password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from .api_client import PASSWORD, ApiClient
from .mirror_images import push_image
from .panel_browser import PanelBrowser
from .panel_chromium import Tab, running_chromium, served
from .panel_site import AUDITOR, READER, make_panel_site
from .sites import SUPERUSER, MemorySite

HERE = "/superuser/locations/us"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with two locations, of which only us has a copy of an image."""
    site = make_panel_site(make_database(), tmp_path, locations=["us", "eu"])
    push_image(site, "new", "new")
    return site


def state(site: MemorySite) -> str:
    return str(ApiClient(site).call("GET", "superuser/locations/us")["state"])


def test_a_location_is_drained_and_activated_by_forms(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    fields = {"location": "us", "current_password": PASSWORD}
    assert browser.submit(f"{HERE}/drain", fields) == HERE
    assert state(site) == "draining"
    assert "This location is being drained" in browser.text(HERE)
    # The password was given a moment ago.
    assert browser.submit(f"{HERE}/activate", {"location": "us"}) == HERE
    assert state(site) == "active"


def test_a_change_with_another_name_is_refused_and_shown_again(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    token = browser.token(f"{HERE}/drain")
    answer = browser.send(f"{HERE}/drain", {"location": "eu"}, token=token)
    assert answer.status_code == 400
    assert "to confirm the change" in answer.text
    assert 'value="eu"' in answer.text
    assert state(site) == "active"


def test_a_change_needs_the_password_after_ten_minutes(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    del browser.cookies["fresh_login"]
    token = browser.token(f"{HERE}/drain")
    answer = browser.send(f"{HERE}/drain", {"location": "us"}, token=token)
    assert answer.status_code == 400
    assert "Enter your current password" in answer.text
    assert state(site) == "active"


def test_only_superusers_change_locations(site: MemorySite) -> None:
    for user, status in ((AUDITOR, 200), (READER, 403), (None, 303)):
        browser = PanelBrowser(site, user)
        browser.get(HERE, status=status)
        for change in ("drain", "activate"):
            token = browser.token()
            fields = {"location": "us", "current_password": PASSWORD}
            answer = browser.send(f"{HERE}/{change}", fields, token=token)
            assert answer.status_code == (303 if user is None else 403)
    assert f"{HERE}/drain" not in PanelBrowser(site, AUDITOR).get(HERE).text
    assert state(site) == "active"


def test_a_preview_of_a_loss_equals_the_api(site: MemorySite) -> None:
    browser = PanelBrowser(site, SUPERUSER)
    assert "exist only here" not in browser.text(HERE)
    loss = ApiClient(site).call("GET", "superuser/locations/us/loss")
    page = browser.text(f"{HERE}?preview=1")
    assert f"{loss['blobs']} blobs" in page
    assert f"{loss['images']} images with {loss['tags']} tags" in page
    assert "Nothing would be lost" in browser.text("/superuser/locations/eu?preview=1")
    browser.get("/superuser/locations/none", status=404)


def press_tab_until(page: Page, selector: str) -> None:
    """Press the Tab key until an element that matches a CSS selector has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("words => document.activeElement.matches(words)", selector):
            return
    raise AssertionError(f"the Tab key does not reach {selector}")


def test_a_location_is_drained_by_keyboard_only(site: MemorySite) -> None:
    with running_chromium() as browser, served(site) as url:
        tab = Tab.opened(browser.new_context(), url)
        page, keys = tab.page, tab.page.keyboard
        tab.open(f"/signin/?next={HERE}")
        press_tab_until(page, "#field-username")
        keys.type(SUPERUSER)
        press_tab_until(page, "#field-password")
        keys.type(PASSWORD)
        keys.press("Enter")
        page.wait_for_url(url + HERE)
        press_tab_until(page, f"a[href='{HERE}/drain']")
        keys.press("Enter")
        page.wait_for_url(f"{url}{HERE}/drain")
        press_tab_until(page, "#field-location")
        keys.type("us")
        press_tab_until(page, "button.primary")
        keys.press("Space")
        page.wait_for_url(url + HERE)
        assert "This location is being drained" in page.inner_text("main")
        assert tab.problems == []
    assert state(site) == "draining"

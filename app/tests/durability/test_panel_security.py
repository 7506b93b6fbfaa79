"""Users see the vulnerabilities of their images, the worst first."""

from __future__ import annotations

import pytest
from atoll.auth import users

from .api_client import PASSWORD, ApiClient
from .mirror_images import index_of, push_image, put
from .panel_browser import PanelBrowser, statements
from .scanning_stack import Stack, scanning_stack
from .sites import SUPERUSER

__all__ = ["scanning_stack"]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def stack(scanning_stack: Stack) -> Stack:
    ApiClient(scanning_stack.us)
    return scanning_stack


@pytest.fixture
def browser(stack: Stack) -> PanelBrowser:
    return PanelBrowser(stack.us, SUPERUSER)


def test_the_list_of_tags_has_the_severities_in_words(stack: Stack, browser: PanelBrowser) -> None:
    push_image(stack.us, "app", "v1")
    here = f"/repository/{stack.us.repository}"
    assert "waiting for its scan" in browser.text(here)
    stack.scan_all()
    answer = browser.get(here)
    assert "critical" in answer.text
    assert statements(answer) <= 3


def test_the_report_has_the_vulnerabilities_and_packages(
    stack: Stack, browser: PanelBrowser
) -> None:
    digest = push_image(stack.us, "app", "v1")
    path = f"/repository/{stack.us.repository}/manifest/{digest}/security"
    assert "waiting for its scan" in browser.text(path)
    stack.scan_all()
    page = browser.text(path)
    assert page.index("Critical") < page.index("Fixed by")
    assert "CVE-" in page
    critical = browser.text(f"{path}?severity=Critical")
    assert "CVE-" in critical
    fixable = browser.text(f"{path}?fixable=true")
    assert "no fixed version" not in fixable
    packages = browser.text(f"{path}?tab=packages")
    assert "Added by layer" in packages
    browser.get(f"{path}?severity=Huge", status=400)
    browser.get(f"{path}?page=0", status=400)


def test_a_stale_report_is_marked(stack: Stack, browser: PanelBrowser) -> None:
    digest = push_image(stack.us, "app", "v1")
    stack.scan_all()
    for stop in stack.stopped.values():
        stop()
    path = f"/repository/{stack.us.repository}/manifest/{digest}/security"
    assert "No scanner responds" in browser.text(path)


def test_an_index_leads_to_the_reports_of_its_images(stack: Stack, browser: PanelBrowser) -> None:
    images = {one: push_image(stack.us, one) for one in ("amd64", "arm64")}
    index = put(stack.us, index_of(images), INDEX_TYPE, "v1")
    page = browser.text(f"/repository/{stack.us.repository}/manifest/{index}/security")
    for digest in images.values():
        assert f"/manifest/{digest}/security" in page


def test_the_report_has_the_permissions_of_the_api(stack: Stack) -> None:
    digest = push_image(stack.us, "app", "v1")
    users.create_user(stack.us.database, "stranger", None, PASSWORD)
    path = f"/repository/{stack.us.repository}/manifest/{digest}/security"
    PanelBrowser(stack.us, "stranger").get(path, status=403)

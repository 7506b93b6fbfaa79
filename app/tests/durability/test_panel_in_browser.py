"""The panel's pages in Chromium, with their script and their Content-Security-Policy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import waitress.server
from atoll.web.app import create_app

from ..security.browser import Browser, running_browser
from .api_client import PASSWORD
from .panel_site import PUBLIC, READER
from .sites import MemorySite

ESCAPE = "\ue00c"
SIGN_IN = "button.primary"


@pytest.fixture(scope="module")
def url(panel_site: MemorySite) -> Iterator[str]:
    """The address of the panel."""
    app = create_app(panel_site.graph.dependencies())
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with closing(server):
        yield f"http://127.0.0.1:{server.effective_port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser([], tmp_path_factory.mktemp("browser") / "log") as one:
        yield one


def sign_in(browser: Browser, password: str) -> None:
    browser.type("#field-username", READER)
    browser.type("#field-password", password)
    browser.click(SIGN_IN)


def test_a_user_signs_in_reads_a_page_and_signs_out(browser: Browser, url: str) -> None:
    browser.open(f"{url}/signin/?next=/repository/{PUBLIC}")
    sign_in(browser, "a wrong password")
    assert browser.run("return document.activeElement.id") == "form-error"
    assert any("400" in message for message in browser.console())
    browser.run("document.querySelector('#field-username').value = ''")
    sign_in(browser, PASSWORD)
    assert browser.address() == f"{url}/repository/{PUBLIC}"
    # The script converts times, and shows the buttons that need it.
    assert browser.run("return document.querySelector('time').title").endswith(" UTC")
    assert browser.run("return document.querySelector('time').textContent.includes('UTC')") is False
    assert browser.run("return document.querySelector('button.copy').hidden") is False
    # The menu works by keyboard.
    browser.click("details.menu summary")
    browser.type("details.menu summary", ESCAPE)
    assert browser.run("return document.querySelector('details.menu').open") is False
    assert browser.run("return document.activeElement.tagName") == "SUMMARY"
    loaded = browser.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert loaded
    assert all(name.startswith(f"{url}/panel/static/") for name in loaded)
    browser.click("details.menu summary")
    browser.click("details.menu button")
    assert browser.run("return document.querySelector('details.menu') === null")
    assert browser.console() == []


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_no_page_is_wider_than_the_window(browser: Browser, url: str, width: int) -> None:
    browser.resize(width, 800)
    for page in ("/", "/signin/", "/repository/", f"/repository/{PUBLIC}", "/search?q=public"):
        browser.open(url + page)
        assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0, page

"""The panel's script and its session in Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from .api_client import PASSWORD
from .panel_chromium import Tab, running_chromium, served
from .panel_site import PUBLIC, READER
from .sites import MemorySite


@pytest.fixture(scope="module")
def url(panel_site: MemorySite) -> Iterator[str]:
    """The address of the panel."""
    with served(panel_site) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


def sign_in(tab: Tab, password: str) -> None:
    tab.page.fill("#field-username", READER)
    tab.page.fill("#field-password", password)
    tab.page.click("button.primary")


def test_a_user_signs_in_reads_a_page_and_signs_out(browser: Browser, url: str) -> None:
    tab = Tab.opened(browser.new_context(), url)
    page = tab.page
    tab.open(f"/signin/?next=/repository/{PUBLIC}")
    sign_in(tab, "a wrong password")
    expect(page.locator("#form-error")).to_be_focused()
    assert any("400" in one for one in tab.problems)
    tab.problems.clear()
    sign_in(tab, PASSWORD)
    page.wait_for_url(f"{url}/repository/{PUBLIC}")
    # The script converts times, and shows the buttons that need it.
    time = page.locator("time").first
    assert (time.get_attribute("title") or "").endswith(" UTC")
    assert "UTC" not in (time.text_content() or "")
    expect(page.locator("button[data-copy]").first).to_be_visible()
    # The menu works by keyboard.
    summary = page.locator("details.menu summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details.menu")).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(page.locator("details.menu")).not_to_have_attribute("open", "")
    expect(summary).to_be_focused()
    summary.click()
    page.click("details.menu button")
    expect(page.locator("details.menu")).to_have_count(0)
    assert tab.problems == []


def test_a_copy_button_copies_its_line(browser: Browser, url: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    tab = Tab.opened(context, url)
    tab.open(f"/repository/{PUBLIC}/tag/v1")
    button = tab.page.locator("button[data-copy]").first
    button.click()
    expect(tab.page.locator("#announcement")).to_have_text("Copied")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert copied == button.get_attribute("data-copy")
    assert str(PUBLIC) in copied


def test_live_parts_send_their_version_and_pause_while_the_page_is_hidden(
    browser: Browser, url: str
) -> None:
    # The events of htmx, which is not installed here.
    tab = Tab.opened(browser.new_context(), url)
    tab.open("/search")
    run = tab.page.evaluate
    run(
        """() => {
        window.part = document.createElement("div");
        part.id = "part";
        part.dataset.version = "v1";
        document.querySelector("main").append(part);
        window.refreshed = [];
        window.htmx = { trigger: (element, name) => refreshed.push([element.id, name]) };
        window.send = (name, detail = {}) => {
          const event = new CustomEvent(name, { bubbles: true, cancelable: true, detail });
          part.dispatchEvent(event);
          return event;
        };
        window.hide = (hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        };
        window.answer = (status, serverResponse = "") => send("htmx:beforeSwap", {
          xhr: { status, responseURL: location.href }, serverResponse, target: part,
          shouldSwap: true }).detail.shouldSwap;
        }"""
    )
    sent = "send('htmx:configRequest', { elt: part, headers: {} }).detail.headers"
    assert run(sent) == {"If-None-Match": '"v1"'}
    assert run("send('htmx:beforeRequest').defaultPrevented") is False
    run("hide(true)")
    assert run("send('htmx:beforeRequest').defaultPrevented") is True
    assert run("refreshed") == []
    run("hide(false)")
    assert run("refreshed") == [["part", "refresh"]]
    assert run("answer(304)") is False
    assert run("answer(200, '<div id=\"part\"></div>')") is True
    # One failure may be a busy process; of two, the reader is told.
    stale = tab.page.locator("#stale")
    for hidden in (True, False):
        assert run("answer(503)") is False
        assert stale.is_hidden() is hidden
    expect(tab.page.locator("#announcement")).to_contain_text("interrupted")
    run("answer(304)")
    expect(stale).to_be_hidden()
    assert tab.problems == []

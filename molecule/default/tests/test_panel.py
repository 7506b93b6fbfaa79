"""The panel in Chromium, at both sites: find and pull an image, watch copies, see a dead store."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import images
import pytest
from clients import Clients
from commands import podman
from definition import Lab, Store
from load import write_image
from playwright.sync_api import Page, expect, sync_playwright
from site_machine import SiteMachine

# Chromium that does not notice when other tests add networks.
_CHROMIUM = Path(__file__).resolve().parents[3] / "app/tests/integration/steady_chromium.py"
# In milliseconds; long, because the machine may be busy.
_PATIENCE = 180_000
# A dead store shows at all sites within so many seconds.
_SHOWN_SECONDS = 5
_NAME = "admin/nginx"


class Tabs:
    """Tabs that are signed in to the panel, each at one site."""

    def __init__(self, lab: Lab, clients: Clients) -> None:
        self._lab = lab
        self._clients = clients
        self._closing = ExitStack()
        self._playwright = self._closing.enter_context(sync_playwright())

    def at(self, site: SiteMachine) -> Page:
        """Open a tab for which the name of the registry leads to one site."""
        registry = self._lab.registry_hostname
        browser = self._playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=[
                "--no-sandbox",  # The tests run as root.
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                f"--host-resolver-rules=MAP {registry} {site.address}, MAP * ~NOTFOUND",
            ],
        )
        self._closing.callback(browser.close)
        # Tests of clients verify certificates.
        context = browser.new_context(
            ignore_https_errors=True,
            base_url=f"https://{registry}",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(_PATIENCE)
        page = context.new_page()
        page.goto("/signin/")
        page.fill("#field-username", self._clients.user)
        page.fill("#field-password", self._clients.password)
        page.click("button.primary")
        page.wait_for_selector("details.menu")
        return page

    def close(self) -> None:
        """Close all tabs."""
        self._closing.close()


@pytest.fixture
def tabs(lab: Lab, clients: Clients) -> Iterator[Tabs]:
    opened = Tabs(lab, clients)
    yield opened
    opened.close()


def test_an_image_is_found_with_typing_errors_and_pulled_with_the_copied_line(
    tabs: Tabs, clients: Clients, us: SiteMachine
) -> None:
    digest = clients.podman_push(images.DEMONSTRATION.tag, f"{_NAME}:1.29")
    page = tabs.at(us)
    page.goto("/")
    page.fill("main input[name=q]", "ngnix")  # codespell:ignore
    page.press("main input[name=q]", "Enter")
    page.click(f"main a.name[href='/repository/{_NAME}']")
    page.click("main th a.name")
    page.locator(".copy-line", has_text="podman pull").first.locator("button").click()
    expect(page.locator("#announcement")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert digest in page.locator("main").inner_text()
    assert copied == f"podman pull {clients.registry}/{_NAME}:1.29"
    assert clients.podman_pull(f"{_NAME}:1.29") == digest


@contextmanager
def cut(site: SiteMachine, store: Store) -> Iterator[None]:
    """Discard what a site sends to a store."""
    route = f"blackhole {store.address}/32"
    site.run(f"ip route add {route}")
    try:
        yield
    finally:
        site.run(f"ip route del {route}")


def push_at(lab: Lab, clients: Clients, site: SiteMachine, name: str) -> None:
    """Push an image with new content at one site."""
    folder = clients.folder / "at-site"
    folder.mkdir()
    write_image(folder / "image")
    at_site = Clients(lab, clients.user, clients.password, folder, registry=site.address)
    at_site.skopeo_push(f"oci:{folder}/image:1", name)


def test_a_mark_changes_from_copying_to_complete_in_an_open_page(
    lab: Lab, tabs: Tabs, clients: Clients, us: SiteMachine, eu: SiteMachine
) -> None:
    stores = {store.location: store for store in lab.stores}
    page = tabs.at(us)
    tags = page.locator("#tags")
    with cut(us, stores[eu.location]), cut(eu, stores[us.location]):
        push_at(lab, clients, us, "admin/cut-line:1")
        page.goto("/repository/admin/cut-line")
        expect(tags).to_contain_text(f"{eu.location}: copying, 0 of 2 blobs")
        page.evaluate("window.isSamePage = true")
    expect(tags).not_to_contain_text("copying", timeout=_PATIENCE)
    assert set(re.findall(r"\w+storage", tags.inner_text())) == {us.location, eu.location}
    assert page.evaluate("window.isSamePage") is True


class Maps:
    """The map of the sites in tabs of several sites."""

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        for page in pages.values():
            page.goto("/")

    def seconds_until(self, words: str) -> dict[str, float]:
        """Return the seconds until the map of each site matched a regular expression."""
        began, found = time.monotonic(), dict[str, float]()
        while len(found) < len(self._pages) and time.monotonic() - began < _PATIENCE / 1000:
            for site, page in self._pages.items():
                # The states are in the alternative text of the map.
                shown = page.locator("figure.map svg").first.get_attribute("aria-label") or ""
                if site not in found and re.search(words, shown):
                    found[site] = time.monotonic() - began
        return found


def test_a_dead_store_shows_within_five_seconds_at_both_sites_until_it_is_back(
    lab: Lab, tabs: Tabs, us: SiteMachine, eu: SiteMachine
) -> None:
    store = next(store for store in lab.stores if store.location == eu.location)
    maps = Maps({site.location: tabs.at(site) for site in (us, eu)})
    both = {us.location, eu.location}
    assert set(maps.seconds_until(f"{eu.location}: store up as all 2 sites see it")) == both
    podman("kill", store.container)
    try:
        dead = maps.seconds_until(f"{eu.location}: store (unresponsive|down)")
        assert set(maps.seconds_until(f"{eu.location}: store down as all 2 sites see it")) == both
    finally:
        podman("start", store.container)
    back = maps.seconds_until(f"{eu.location}: store up as all 2 sites see it")
    assert set(dead) == set(back) == both
    assert max(dead.values()) < _SHOWN_SECONDS, dead

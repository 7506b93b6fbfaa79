"""Every page of the panel is accessible, works without its script, and stays on its origin."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.scanning.security_document import counts_of
from atoll.scanning.stored_reports import StoredReports
from atoll.web import app as web_app
from atoll.web.app import create_app
from atoll.web.panel.resources import Panel, create_panel
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.clair.recordings import recording

from .api_client import PASSWORD, ApiClient
from .databases import administer, database_uri
from .mirrored import make_robot
from .mirrored_organizations import discover, make_organization_mirror
from .mirrors import add_mirror, add_run, add_task
from .panel_chromium import Tab, running_chromium, served, signed_in
from .panel_site import PRIVATE, PUBLIC, make_panel_site, push_tag
from .sites import SUPERUSER, MemorySite

MIRRORED = f"{SUPERUSER}/mirrored"
ORGANIZATION_PAGES = tuple(
    f"/organization/guild{path}"
    for path in (
        "",
        "?tab=robots",
        "/robots/new",
        "/robots/ci/regenerate",
        "/robots/ci/delete",
        "?tab=logs",
        "/new-team",
        "/teams/crew",
        "/teams/crew/change",
        "/teams/crew/delete",
        "?tab=permissions",
        "/new-permission",
        "?tab=applications",
        "/new-application",
        "/applications/CLIENT",
        "/applications/CLIENT/reset",
        "/applications/CLIENT/delete",
        "/settings",
        "/delete",
    )
)
# A path for each page, with the location, organization and image of `site`.
PAGES = (
    "/",
    "/search?q=publik",
    "/repository/",
    "/repository/?new=true",
    f"/repository/{PUBLIC}",
    f"/repository/{PRIVATE}?tab=history",
    f"/repository/{PRIVATE}?tab=logs",
    f"/repository/{PRIVATE}/notifications",
    f"/repository/{PRIVATE}/notifications/new?method=quay_notification",
    *(
        f"/repository/{PRIVATE}/settings/{form}"
        for form in ("description", "permission", "visibility", "delete")
    ),
    f"/repository/{MIRRORED}?tab=mirroring",
    f"/repository/{MIRRORED}?tab=mirroring&edit=true",
    f"/repository/{PRIVATE}/tag/v1",
    f"/repository/{PRIVATE}/tag/v1/delete",
    f"/repository/{PRIVATE}/tag/v1/expiration",
    f"/repository/{PRIVATE}/tag/v1/forget",
    f"/repository/{PRIVATE}/tag/v1/restore?digest=DIGEST",
    f"/repository/{PRIVATE}/manifest/DIGEST",
    f"/repository/{PRIVATE}/manifest/DIGEST/tag",
    f"/repository/{PRIVATE}/manifest/DIGEST/security",
    f"/repository/{PRIVATE}/manifest/DIGEST/security?tab=packages",
    f"/repository/{PRIVATE}/manifest/DIGEST/labels",
    "/organization/?new=true",
    *ORGANIZATION_PAGES,
    "/organization/guild?tab=mirroring",
    f"/user/{SUPERUSER}",
    f"/user/{SUPERUSER}/settings",
    f"/user/{SUPERUSER}/tokens/new",
    f"/user/{SUPERUSER}/tokens/TOKEN/revoke",
    "/superuser",
    "/superuser/locations/us",
    "/superuser/locations/us?preview=1",
    "/superuser/locations/us/drain",
    "/superuser/locations/us/activate",
    "/organization/acme?tab=mirroring",
    "/superuser/mirrors",
    "/superuser/replication",
    "/superuser/config",
    "/superuser/garbage",
    "/superuser/guarantees",
    "/superuser/verification",
    "/superuser/messages",
    "/superuser/users",
    "/superuser/users/reader",
    "/superuser/users/reader/delete",
    "/superuser/logs",
    "/superuser/organizations",
    "/superuser/organizations/guild",
    "/superuser/organizations/guild/name",
    "/superuser/organizations/guild/delete",
    "/panel/licences",
)
SIGN_IN = "/signin/"
# A page and an element for each picture of docs/explanation/panel-design.md.
COMPONENTS = {
    "state": ("/superuser/locations/us", "main ul.marks"),
    "chip": ("/search?q=publik", "main ul.results li"),
    "notice": ("/", "main .notice:not([hidden])"),
    "form": (f"/repository/{PRIVATE}/settings/delete", "main form.card"),
    "copy-line": (f"/repository/{PRIVATE}/tag/v1", "main .copy-line"),
    "settings": (f"/repository/{MIRRORED}?tab=mirroring&edit=true", "main fieldset"),
    "progress": (f"/repository/{MIRRORED}?tab=mirroring", "main :has(> progress)"),
    "map": ("/superuser", "main figure.map"),
    "tabs": (f"/repository/{PRIVATE}", "main nav.tabs"),
    "navigation": ("/superuser", "nav.operations"),
    "figures": ("/superuser/guarantees", "main dl.figures"),
    "paging": (f"/repository/{MIRRORED}?tab=mirroring&next_page=a", "main nav.paging"),
    "empty": ("/search?q=zzzzzz", "main .empty"),
}
PICTURES = Path(__file__).parents[3] / "docs/assets/panel"
WIDTHS = (320, 768, 1280)
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
# The folder of `make screenshots`, for people to look at.
SCREENSHOTS = os.environ.get("ATOLL_SCREENSHOTS")
# Rules depend on the width or on the colours, not on both: each of the four occurs once. The other
# two windows are for `make test-all`.
Windows = tuple[tuple[int, Literal["light", "dark"]], ...]
WINDOWS: Windows = ((320, "light"), (1280, "dark"))
OTHER_WINDOWS: Windows = ((320, "dark"), (1280, "light"))
# Find the controls that the Tab key reaches, and return how often it must be pressed. Of radio
# buttons of one name, it reaches only the chosen or first one.
CONTROLS = """() => {
    const controls = [...document.querySelectorAll(
        "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
    )].filter(one => !one.disabled && one.checkVisibility({visibilityProperty: true}));
    const chosen = one => {
        const group = controls.filter(other => other.type === "radio" && other.name === one.name);
        return one === (group.find(other => other.checked) ?? group[0]);
    };
    window.controls = controls.filter(one => one.type !== "radio" || chosen(one));
    window.reached = new Set();
    window.unmarked = [];
    addEventListener("focusin", event => {
        const style = getComputedStyle(event.target);
        reached.add(event.target);
        if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2)
            unmarked.push(event.target.outerHTML.slice(0, 100));
    });
    document.activeElement.blur();
    // A date has a stop for each of its parts.
    const dates = controls.filter(one => ["date", "datetime-local"].includes(one.type));
    return controls.length + 6 * dates.length + 1;
}"""
UNREACHED = """() => window.controls.filter(one => !reached.has(one))
    .map(one => one.outerHTML.slice(0, 100))"""


@pytest.fixture(scope="module")
def site(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemorySite]:
    """A site with something on each page."""
    name = f"{template}_pages"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    uri = database_uri(postgres_uri, name)
    # No scanner responds, so that reports are those that are stored.
    scanner = {
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "http://127.0.0.1:9",
        "FEATURE_SECURITY_NOTIFICATIONS": True,
    }
    site = make_panel_site(uri, tmp_path_factory.mktemp("site"), scanner, locations=["us", "eu"])
    fill(site)
    yield site
    administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def fill(site: MemorySite) -> None:
    """Add what pages show."""
    api = ApiClient(site)
    fill_organization(api)
    make_robot(site)
    run = add_run(site.database, add_mirror(site.database, "mirrored"), tags_total=2)
    make_organization_mirror(site)
    discover(site, "app")
    for tag, state in (("v1", "pending"), ("v2", "failed")):
        add_task(site.database, run, tag, state)
    site.database.run("INSERT INTO upstream (host, account, route) VALUES ('up.example', '', '')")
    message = {"content": "Maintenance at 02:00", "media_type": "text/plain", "severity": "warning"}
    target = {"target": {"kind": "user", "name": SUPERUSER}}
    notification = {"event": "repo_push", "method": "quay_notification", "config": target}
    api.call("POST", f"repository/{PRIVATE}/notification/", notification, status=201)
    for digest in (push_tag(site, PRIVATE, "v2"), push_tag(site, PRIVATE, "v3")):
        path, body = f"repository/{PRIVATE}/tag/stable", {"manifest_digest": str(digest)}
        api.call("PUT", path, body, status=201)
        path = f"repository/{PRIVATE}/manifest/{digest}/labels"
        api.call("POST", path, {"key": "team", "value": "blue"}, status=201)
    api.call("POST", "messages", {"message": message}, status=201)
    fill_reports(site)
    site.probe("us")
    site.stores["eu"].down = True
    site.probe("eu")
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()


def fill_reports(site: MemorySite) -> None:
    """Store a recorded report for each image."""
    response = recording("15").response
    assert response is not None
    report = response.document
    site.database.run(
        "UPDATE securityscan SET index_status = 2, indexer_hash = 'state', severity_counts = %s",
        [json.dumps(counts_of(report).as_json())],
    )
    stored = StoredReports(site.database)
    for (digest,) in site.database.read("SELECT digest FROM securityscan"):
        stored.keep(digest, json.dumps(report).encode(), "state")


def fill_organization(api: ApiClient) -> None:
    """Create an organization with a team, a robot and a default permission."""
    guild = "organization/guild"
    api.call("POST", "organization/", {"name": "guild"}, status=201)
    api.call("PUT", f"{guild}/team/crew", {"role": "member", "description": "Engineers"})
    api.call("PUT", f"{guild}/robots/ci", {"description": "CI"}, status=201)
    api.call("PUT", f"{guild}/team/crew/members/guild+ci")
    default = {"role": "read", "delegate": {"kind": "team", "name": "crew"}}
    api.call("POST", f"{guild}/prototypes", default)


@pytest.fixture(scope="module")
def pages(site: MemorySite) -> dict[str, str]:
    """The paths of PAGES, with the ids of an image, an app-specific token and an application."""
    api = ApiClient(site)
    digest = api.call("GET", f"repository/{PRIVATE}/tag/")["tags"][0]["manifest_digest"]
    token = api.call("POST", "user/apptoken", {"title": "laptop"})["token"]["uuid"]
    found = api.call("POST", "organization/guild/applications", {"name": "Dashboard"})
    ids = {"DIGEST": digest, "TOKEN": token, "CLIENT": found["client_id"]}
    return {page: re.sub("|".join(ids), lambda name: ids[name[0]], page) for page in PAGES}


@pytest.fixture(scope="module")
def url(site: MemorySite) -> Iterator[str]:
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def cookies(browser: Browser, url: str) -> Any:
    return signed_in(browser, url, SUPERUSER, PASSWORD)


@pytest.fixture(scope="module")
def open_tab(browser: Browser, url: str) -> Iterator[Callable[..., Tab]]:
    """Open tabs with options of a context of Playwright."""
    with ExitStack() as contexts:

        def opened(**options: Any) -> Tab:
            # Colours that change gradually have no contrast of their own.
            context = browser.new_context(reduced_motion="reduce", **options)
            contexts.callback(context.close)
            return Tab.opened(context, url)

        yield opened


@pytest.fixture(scope="module")
def tab(open_tab: Callable[..., Tab], cookies: Any) -> Tab:
    return open_tab(storage_state=cookies)


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    """One of PAGES. All tests of a page run in succession."""
    return str(request.param)


@pytest.fixture(scope="module")
def opened(tab: Tab, pages: dict[str, str], page: str) -> Tab:
    """The tab with the page, which is opened once for all tests."""
    tab.open(pages[page])
    tab.page.wait_for_load_state("networkidle")
    return tab


@pytest.fixture(scope="module")
def plain(open_tab: Callable[..., Tab], cookies: Any) -> Tab:
    """A tab without JavaScript."""
    return open_tab(storage_state=cookies, java_script_enabled=False)


def test_the_list_has_every_page(
    site: MemorySite, pages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels: list[Panel] = []

    def recorded(**arguments: Any) -> Panel:
        panels.append(create_panel(**arguments))
        return panels[-1]

    monkeypatch.setattr(web_app, "create_panel", recorded)
    router = create_app(site.graph.dependencies())._router
    found = [router.find(path.partition("?")[0]) for path in (*pages.values(), SIGN_IN)]
    # Forms of one tab share its method.
    shown = {type(route[0]).on_get for route in found if route is not None}  # type: ignore[attr-defined]
    (panel,) = panels
    for template, resource in panel.routes:
        responder = getattr(type(resource), "on_get", None)
        if getattr(getattr(responder, "panel", None), "template", None):
            assert responder in shown, template


def violations(tab: Tab, windows: Windows = WINDOWS) -> list[str]:
    """Return what axe finds on a page in some windows."""
    found = []
    for width, scheme in windows:
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.emulate_media(color_scheme=scheme)
        for one in Axe().run(tab.page).response["violations"]:
            nodes = [node["html"][:100] for node in one["nodes"]]
            found.append(f"{width} px, {scheme}: {one['id']}: {nodes}")
    return found


def overflows(tab: Tab) -> dict[int, int]:
    """Return by how many pixels a page is wider than windows of some widths."""
    found = {}
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 800})
        overflow = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow > 0:
            found[width] = overflow
    return found


def test_a_page_causes_no_error_and_no_request_elsewhere(opened: Tab) -> None:
    assert opened.problems == []
    assert opened.addresses
    assert opened.other_origins == set()


def test_a_page_has_the_same_facts_without_javascript(
    opened: Tab, plain: Tab, pages: dict[str, str], page: str
) -> None:
    plain.open(pages[page])
    assert plain.facts()
    assert plain.facts() == opened.facts()


def test_the_tab_key_reaches_each_control_with_a_visible_focus(opened: Tab) -> None:
    opened.page.set_viewport_size({"width": 1280, "height": 800})
    for _ in range(opened.page.evaluate(CONTROLS)):
        opened.page.keyboard.press("Tab")
    assert opened.page.evaluate(UNREACHED) == []
    assert opened.page.evaluate("window.unmarked") == []


def test_a_page_fits_into_the_window(opened: Tab, page: str) -> None:
    assert overflows(opened) == {}
    if SCREENSHOTS:
        take_screenshots(opened, Path(SCREENSHOTS), page)


def test_axe_finds_no_violation(opened: Tab) -> None:
    assert violations(opened) == []


@pytest.mark.long
def test_axe_finds_no_violation_in_other_windows(opened: Tab) -> None:
    assert violations(opened, OTHER_WINDOWS) == []


def test_axe_finds_no_violation_in_the_sign_in_and_its_error(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab()
    tab.open(SIGN_IN)
    assert violations(tab) == []
    tab.page.fill("#field-username", SUPERUSER)
    tab.page.fill("#field-password", "a wrong password")
    tab.page.click("button.primary")
    tab.page.wait_for_selector("#form-error")
    assert violations(tab) == []


def test_axe_finds_no_violation_in_the_page_of_a_new_token(tab: Tab) -> None:
    tab.open("/organization/guild/robots/new")
    tab.page.fill("#field-name", "new")
    tab.page.click("button.primary")
    tab.page.wait_for_selector(".copy-block")
    assert violations(tab) == []
    assert overflows(tab) == {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_of_the_design_has_a_picture(tab: Tab, component: str) -> None:
    path, selector = COMPONENTS[component]
    tab.open(path)
    tab.page.set_viewport_size({"width": 768, "height": 800})
    element = tab.page.locator(selector).first
    expect(element).to_be_visible()
    if SCREENSHOTS:
        element.screenshot(path=PICTURES / f"{component}.png")
    assert (PICTURES / f"{component}.png").is_file()


def take_screenshots(tab: Tab, folder: Path, page: str) -> None:
    """Write a file of the open page for each width and for light and dark colours."""
    name = re.sub(r"\W+", "-", page).strip("-") or "home"
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            tab.page.emulate_media(color_scheme=scheme)
            tab.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
    tab.page.emulate_media(color_scheme="null")

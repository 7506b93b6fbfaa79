"""Every page of the panel is accessible, works without its script, and stays on its origin."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.web import app as web_app
from atoll.web.app import create_app
from atoll.web.panel.resources import Panel, create_panel
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

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
WIDTHS = (320, 768, 1280)
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
# The folder of `make screenshots`, for people to look at.
SCREENSHOTS = os.environ.get("ATOLL_SCREENSHOTS")
# Rules depend on the width or on the colours, not on both: each of the four occurs once.
WINDOWS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((320, "light"), (1280, "dark"))


@pytest.fixture(scope="module")
def site(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemorySite]:
    """A site with something on each page."""
    name = f"{template}_pages"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    uri = database_uri(postgres_uri, name)
    site = make_panel_site(uri, tmp_path_factory.mktemp("site"), locations=["us", "eu"])
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
    site.probe("us")
    site.stores["eu"].down = True
    site.probe("eu")
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()


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
def judged(open_tab: Callable[..., Tab], cookies: Any) -> Tab:
    """A tab into which axe may be injected."""
    return open_tab(storage_state=cookies, bypass_csp=True)


@pytest.fixture(scope="module")
def tab(open_tab: Callable[..., Tab], cookies: Any) -> Tab:
    return open_tab(storage_state=cookies)


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


def violations(tab: Tab) -> list[str]:
    """Return what axe finds on a page in each of WINDOWS."""
    found = []
    for width, scheme in WINDOWS:
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


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(judged: Tab, pages: dict[str, str], page: str) -> None:
    judged.open(pages[page])
    assert violations(judged) == []


def test_axe_finds_no_violation_in_the_sign_in_and_its_error(open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(bypass_csp=True)
    tab.open(SIGN_IN)
    assert violations(tab) == []
    tab.page.fill("#field-username", SUPERUSER)
    tab.page.fill("#field-password", "a wrong password")
    tab.page.click("button.primary")
    tab.page.wait_for_selector("#form-error")
    assert violations(tab) == []


def test_axe_finds_no_violation_in_the_page_of_a_new_token(judged: Tab) -> None:
    judged.open("/organization/guild/robots/new")
    judged.page.fill("#field-name", "new")
    judged.page.click("button.primary")
    judged.page.wait_for_selector(".copy-block")
    assert violations(judged) == []
    assert overflows(judged) == {}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_same_facts_without_javascript(
    tab: Tab, plain: Tab, pages: dict[str, str], page: str
) -> None:
    for one in (tab, plain):
        one.open(pages[page])
    assert plain.facts()
    assert plain.facts() == tab.facts()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_causes_no_error_and_no_request_elsewhere(
    tab: Tab, pages: dict[str, str], page: str
) -> None:
    tab.open(pages[page])
    tab.page.wait_for_load_state("networkidle")
    assert tab.problems == []
    assert tab.addresses
    assert tab.other_origins == set()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_into_the_window(tab: Tab, pages: dict[str, str], page: str) -> None:
    tab.open(pages[page])
    assert overflows(tab) == {}
    if SCREENSHOTS:
        take_screenshots(tab, Path(SCREENSHOTS), page)


def take_screenshots(tab: Tab, folder: Path, page: str) -> None:
    """Write a file of the open page for each width and for light and dark colours."""
    name = re.sub(r"\W+", "-", page).strip("-") or "home"
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            tab.page.emulate_media(color_scheme=scheme)
            tab.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
    tab.page.emulate_media(color_scheme="null")

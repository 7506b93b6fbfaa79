"""Pages show the data of the API, with the permissions that the API gives to the same user."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from atoll.db.pool import DatabaseUnavailable
from atoll.names import RepositoryName
from atoll.notifications.payloads import Payloads
from atoll.server.migration import prepare_database
from atoll.web.panel.middleware import HEADERS
from atoll.web.panel.rendering import Renderer

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_site import AUDITOR, PRIVATE, PUBLIC, READER, STRANGER, push_tag
from .sites import SUPERUSER, MemorySite, make_registry

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
# Each page, and the operation of the API that has its data.
PAGES = {
    "/repository/": "repository?public=true",
    f"/repository/{PUBLIC}": f"repository/{PUBLIC}",
    f"/repository/{PRIVATE}": f"repository/{PRIVATE}",
    "/repository/admin/absent": "repository/admin/absent",
    "/repository/nowhere/absent": "repository/nowhere/absent",
    "/search?q=public": "find/all?query=public",
    "/organization/": "user/",
    "/organization/absent": "organization/absent",
    f"/user/{SUPERUSER}": f"repository?namespace={SUPERUSER}",
    "/superuser": "superuser/health",
}
USER_PAGES = [page for page in PAGES if page != "/superuser"]


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> dict[str | None, PanelBrowser]:
    """A browser of each user, and one of an anonymous visitor."""
    users = (None, SUPERUSER, AUDITOR, READER, STRANGER)
    return {user: PanelBrowser(panel_site, user) for user in users}


@pytest.mark.parametrize("user", [None, SUPERUSER, AUDITOR, READER, STRANGER])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown_exactly_if_the_api_permits_it(
    panel_site: MemorySite,
    browsers: dict[str | None, PanelBrowser],
    page: str,
    user: str | None,
) -> None:
    path, _, query = PAGES[page].partition("?")
    values = dict([query.split("=")]) if query else None
    expected = ApiClient(panel_site, user).request("GET", path, query=values).status_code
    answer = browsers[user].get(page, status=303 if expected == 401 else expected)
    if expected == 401:
        assert answer.headers["location"].startswith("/signin/?next=/")


@pytest.mark.parametrize("page", [*USER_PAGES, "/", "/signin/", "/panel/licences"])
def test_a_page_costs_at_most_three_statements(
    browsers: dict[str | None, PanelBrowser], page: str
) -> None:
    for user in (None, READER):
        answer = browsers[user].request("GET", page)
        assert statements(answer) <= 3


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/", 200),
        ("/signin/", 200),
        ("/search", 200),
        ("/organization/", 303),
        ("/repository/no/such", 303),
        ("/repository/unqualified", 404),
        ("/panel/absent", 404),
        ("/repository/?next_page=text", 400),
    ],
)
def test_every_page_and_error_has_the_security_headers(
    browsers: dict[str | None, PanelBrowser], page: str, status: int
) -> None:
    answer = browsers[None].get(page, status=status)
    assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
    assert "unsafe" not in answer.headers["content-security-policy"]
    if status != 303:
        assert answer.headers["content-type"].startswith("text/html")


def test_pages_have_no_inline_script_or_style(browsers: dict[str | None, PanelBrowser]) -> None:
    for page in (*PAGES, "/", "/panel/licences"):
        html = browsers[SUPERUSER].request("GET", page).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script>", html), page


def test_a_repository_page_shows_its_tags(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    tag = ApiClient(panel_site).call("GET", f"repository/{PUBLIC}/tag/")["tags"][0]
    text = browsers[None].text(f"/repository/{PUBLIC}")
    assert tag["name"] in text
    assert tag["manifest_digest"] in text


def test_the_information_of_a_repository_is_that_of_the_api(
    browsers: dict[str | None, PanelBrowser],
) -> None:
    path = f"/repository/{PRIVATE}?tab=information"
    assert "administrator" in browsers[SUPERUSER].text(path)
    assert "<dd>read</dd>" in browsers[READER].get(path).text
    browsers[STRANGER].get(path, status=403)


def test_a_user_stars_a_repository_and_removes_the_star(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    reader, form = browsers[READER], f"/panel/star/{PUBLIC}"
    back = {"next": "/repository/?namespace=admin"}

    def starred() -> set[str]:
        found = ApiClient(panel_site, READER).call("GET", "user/starred")
        return {one["name"] for one in found["repositories"]}

    before = starred()
    assert reader.submit(form, {**back, "starred": "true"}, page="/") == back["next"]
    assert starred() == before | {PUBLIC.name}
    assert reader.submit(form, {"next": "//evil.example"}, page="/") == "/"
    assert starred() == before
    for user in (STRANGER, AUDITOR):
        token = browsers[user].token("/")
        path = f"/panel/star/{PRIVATE}"
        assert browsers[user].send(path, {"starred": "true"}, token=token).status_code == 403


def test_each_tag_shows_the_locations_that_have_all_of_it(
    browsers: dict[str | None, PanelBrowser], panel_uri: str, tmp_path: Path
) -> None:
    registry = make_registry(panel_uri, tmp_path, ["us", "eu"])
    prepare_database(registry["us"].graph)
    name = RepositoryName(SUPERUSER, "copied")
    push_tag(registry["us"], name, "v1")
    browser = PanelBrowser(registry["us"], SUPERUSER)
    page = browser.text(f"/repository/{name}")
    assert re.search(r"#good\"></use></svg>us<", page)
    assert re.search(r"#busy\"></use></svg>eu: copying, 0 of 1 blobs<", page)
    # Only a page with pending copies asks for its present content, and only for its own.
    assert f'id="tags" hx-get="/repository/{name}"' in page
    complete = browsers[None].text(f"/repository/{PUBLIC}")
    assert ">v1<" in complete
    assert "hx-get" not in complete


def test_tags_are_filtered_by_a_part_of_their_name(
    browsers: dict[str | None, PanelBrowser],
) -> None:
    assert ">v1<" in browsers[None].text(f"/repository/{PUBLIC}?filter=v")
    assert ">v1<" not in browsers[None].text(f"/repository/{PUBLIC}?filter=w")


def test_a_misspelt_search_finds_the_repository(
    browsers: dict[str | None, PanelBrowser],
) -> None:
    assert f'href="/repository/{PUBLIC}"' in browsers[None].text("/search?q=publik")


def test_a_visitor_sees_public_repositories_and_a_user_those_they_starred(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    assert f'href="/repository/{PUBLIC}"' in browsers[None].text("/")
    assert f'href="/repository/{PRIVATE}"' not in browsers[None].text("/")
    body = {"namespace": PRIVATE.namespace, "repository": PRIVATE.name}
    ApiClient(panel_site, READER).call("POST", "user/starred", body, status=201)
    assert f'href="/repository/{PRIVATE}"' in browsers[READER].text("/")


def test_members_of_an_organization_see_its_teams(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    ApiClient(panel_site).call("POST", "organization/", {"name": "guild"}, status=201)
    role = {"role": "member", "description": "Runs <b>everything</b>"}
    ApiClient(panel_site).call("PUT", "organization/guild/team/crew", role)
    assert 'href="/organization/guild"' in browsers[SUPERUSER].text("/organization/")
    assert "Runs <b>everything</b>" in browsers[SUPERUSER].text("/organization/guild")
    assert "<b>" not in browsers[SUPERUSER].get("/organization/guild").text
    assert "crew" not in browsers[STRANGER].text("/organization/guild")
    assert statements(browsers[SUPERUSER].get("/organization/guild")) <= 3


def test_messages_to_all_users_are_shown_on_the_first_page(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    message = {"content": "Maintenance at 02:00", "media_type": "text/plain", "severity": "warning"}
    ApiClient(panel_site).call("POST", "messages", {"message": message}, status=201)
    for user in (None, READER):
        assert "Maintenance at 02:00" in browsers[user].text("/")


def test_pages_do_not_occupy_all_threads(
    browsers: dict[str | None, PanelBrowser], monkeypatch: pytest.MonkeyPatch
) -> None:
    # While a page is rendered, the next one is requested.
    statuses: list[int] = []
    depth = 0

    def render(*_arguments: object, **_context: object) -> str:
        nonlocal depth
        depth += 1
        if depth < 5:
            statuses.append(browsers[None].request("GET", "/signin/").status_code)
        return ""

    monkeypatch.setattr(Renderer, "render", render)
    assert browsers[None].get("/signin/").status_code == 200
    assert statuses == [503, 200, 200, 200]
    assert browsers[None].get("/signin/").status_code == 200


@pytest.mark.parametrize("method", ["webhook", "slack", "email"])
def test_links_of_notifications_lead_to_the_page_of_the_repository(
    browsers: dict[str | None, PanelBrowser], method: str
) -> None:
    payloads, event = Payloads("registry.test", "http"), {"updated_tags": ["v1"]}
    names = (PRIVATE.namespace, PRIVATE.name)
    if method == "email":
        text = payloads.mail("repo_push", *names, event)[1]
    else:
        text = json.dumps(payloads.build("repo_push", method, *names, event))
    links = re.findall(r"http://registry\.test(/[\w/.-]*)", text)
    assert links
    for link in links:
        assert ">v1<" in browsers[READER].text(link)


def test_only_operators_see_the_way_to_their_pages(
    browsers: dict[str | None, PanelBrowser],
) -> None:
    for user, seen in ((None, False), (READER, False), (AUDITOR, True), (SUPERUSER, True)):
        assert ('href="/superuser"' in browsers[user].text("/")) is seen


def test_hostile_text_is_escaped(
    browsers: dict[str | None, PanelBrowser], panel_site: MemorySite
) -> None:
    name = RepositoryName(SUPERUSER, "hostile")
    panel_site.graph.repositories.create(name, "public", SUPERUSER, HOSTILE)
    push_tag(panel_site, name, "v1")
    for page in (
        f"/repository/{name}",
        "/repository/",
        "/",
        f"/search?q={HOSTILE}".replace("<", "%3C").replace("#", "%23"),
        "/search?q=hostile",
        "/repository/?namespace=%3Cscript%3Ealert(1)%3C/script%3E",
        "/repository/%3Cscript%3Ealert(1)%3C/script%3E",
        f"/repository/{name}?filter=%3Cscript%3Ealert(1)",
        "/signin/?next=/%22%3E%3Cscript%3Ealert(1)",
    ):
        html = browsers[None].request("GET", page).text
        assert "<script>alert" not in html, page
        assert "<img" not in html, page


def test_a_registry_client_gets_the_same_errors_as_without_the_panel(
    browsers: dict[str | None, PanelBrowser],
) -> None:
    for path in ("/absent", "/v1/_ping", "/v2/absent", "/favicon.ico"):
        answer = browsers[None].get(path, status=404)
        assert answer.json["errors"][0]["code"] == "UNSUPPORTED"
    assert browsers[None].get("/api/v1/absent", status=404).json["status"] == 404


def test_the_panel_can_be_disabled(panel_uri: str, panel_site: MemorySite, tmp_path: Path) -> None:
    del panel_site
    disabled = make_registry(panel_uri, tmp_path, ["us"], {"FEATURE_UI_PANEL": False})["us"]
    browser = PanelBrowser(disabled)
    for path in ("/", "/signin/", "/repository/", "/panel/static/panel.css"):
        answer = browser.get(path, status=404)
        assert answer.json["errors"][0]["code"] == "UNSUPPORTED"


def test_without_anonymous_access_pages_lead_to_the_sign_in(
    panel_uri: str, panel_site: MemorySite, tmp_path: Path
) -> None:
    del panel_site
    private = make_registry(panel_uri, tmp_path, ["us"], {"FEATURE_ANONYMOUS_ACCESS": False})["us"]
    browser = PanelBrowser(private)
    assert browser.get("/search", status=303).headers["location"] == "/signin/?next=/search"
    assert "Public repositories" not in browser.text("/")


def test_without_its_database_a_page_reports_that_and_when_to_retry(
    browsers: dict[str | None, PanelBrowser],
    panel_site: MemorySite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object) -> None:
        raise DatabaseUnavailable("no host answers")

    monkeypatch.setattr(type(panel_site.graph.access), "authenticate_page", fail)
    answer = browsers[None].get("/search", status=503)
    assert answer.headers["retry-after"] == "5"
    assert "The database is unavailable" in answer.text
    assert "no host answers" not in answer.text

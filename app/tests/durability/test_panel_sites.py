"""Operators see at all sites which store is up as each site sees it, and see changes at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.db.pool import DatabaseUnavailable
from atoll.placement import recent_status
from atoll.placement.recent_status import RecentReport
from atoll.server import heartbeat
from atoll.storage.errors import StoreUnreachable
from atoll.storage.prober import PROBE_INTERVAL
from atoll.web.panel.rendering import Renderer

from .api_client import ApiClient
from .databases import administer, database_uri
from .mirror_images import push_image
from .panel_browser import PanelBrowser, poll, statements
from .panel_site import AUDITOR, READER, make_panel_registry
from .sites import SUPERUSER, MemoryRegistry, MemorySite

PAGES = ("/superuser", "/", "/superuser/locations/eu")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def registry(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRegistry]:
    """Two sites that the tests of this module share."""
    name = f"{template}_sites"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    uri = database_uri(postgres_uri, name)
    yield make_panel_registry(uri, tmp_path_factory.mktemp("sites"), locations=["us", "eu"])
    administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sites(registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch) -> dict[str, MemorySite]:
    """The sites; each has sent one heartbeat, and sees both stores up."""
    # Tests change a state and request the page a moment later.
    monkeypatch.setattr(recent_status, "_SHARED_SECONDS", 0.0)
    registry["us"].database.run(
        "DELETE FROM instance; UPDATE imagestoragelocation SET state = 'active' RETURNING 1"
    )
    for store in registry.stores.values():
        store.down = False
    for site in registry.sites.values():
        see(site, *registry.sites)
    return registry.sites


def see(site: MemorySite, *locations: str) -> None:
    """Probe stores from a site, and send its heartbeat."""
    for location in locations:
        site.probe(location)
    Heartbeat(site.database, site.graph.bundle, "registry", site.locations.health).record()


def identified(site: MemorySite) -> None:
    """Let the sites' instances count as one each: only the last heartbeat of a site remains."""
    site.database.run(
        "DELETE FROM instance i USING instance newer WHERE newer.preference = i.preference"
        " AND newer.seen_at > i.seen_at RETURNING 1"
    )


def test_a_dead_store_shows_for_each_site_in_words_and_again_when_it_is_back(
    sites: dict[str, MemorySite],
) -> None:
    browsers = {name: PanelBrowser(site, SUPERUSER) for name, site in sites.items()}
    for down, word in ((True, "down"), (False, "up")):
        sites["us"].stores["eu"].down = down
        for site in sites.values():
            see(site, "eu")
        identified(sites["us"])
        for browser in browsers.values():
            for path in ("/superuser", "/superuser/locations/eu"):
                page = browser.text(path)
                assert f"from us: {word}" in page
                assert f"from eu: {word}" in page
            assert f"eu: store {word} as all 2 sites see it" in browser.text("/")


def test_a_cut_line_shows_as_a_store_that_one_site_sees_down(
    sites: dict[str, MemorySite],
) -> None:
    sites["us"].stores["eu"].down = True
    see(sites["us"], "eu")
    identified(sites["us"])
    page = PanelBrowser(sites["eu"], AUDITOR).text("/superuser")
    assert "down for 1 of 2 sites" in page
    assert "from us: down since" in page
    assert "from eu: up" in page
    assert "finds the store of eu down: down" in page


def test_a_dead_store_shows_within_five_seconds(sites: dict[str, MemorySite]) -> None:
    page = PanelBrowser(sites["us"], SUPERUSER).get("/superuser").text
    assert 'hx-trigger="every 2s, refresh"' in page
    page_interval, shared = 2, 0.5
    assert PROBE_INTERVAL + heartbeat._POLL_SECONDS + page_interval + shared < 5


@pytest.mark.parametrize("path", PAGES)
def test_an_open_page_costs_one_statement_until_something_changes(
    sites: dict[str, MemorySite], path: str
) -> None:
    browser = PanelBrowser(sites["us"], SUPERUSER)
    version = browser.get(path).headers["etag"]
    unchanged = poll(browser, path, version)
    assert (unchanged.status_code, unchanged.text, statements(unchanged)) == (304, "", 1)
    assert unchanged.headers["etag"] == version
    sites["us"].stores["eu"].down = True
    see(sites["us"], "eu")
    changed = poll(browser, path, version)
    assert changed.status_code == 200
    assert changed.headers["etag"] != version
    assert "down" in changed.text


def test_an_unchanged_page_is_not_rendered(
    sites: dict[str, MemorySite], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = PanelBrowser(sites["us"], SUPERUSER)
    version = browser.get("/superuser").headers["etag"]
    monkeypatch.delattr(Renderer, "render")
    assert poll(browser, "/superuser", version).status_code == 304


def test_open_pages_do_not_occupy_all_threads_while_the_database_hangs(
    sites: dict[str, MemorySite], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = PanelBrowser(sites["us"], SUPERUSER)
    version = browser.get("/superuser").headers["etag"]
    # While the version is read for a page, the next page requests it.
    get, statuses = RecentReport.get, list[int]()

    def read(report: RecentReport[Any]) -> Any:
        if len(statuses) < 4:
            statuses.append(0)
            position = len(statuses) - 1
            statuses[position] = poll(browser, "/superuser", version).status_code
        return get(report)

    monkeypatch.setattr(RecentReport, "get", read)
    assert poll(browser, "/superuser", version).status_code == 304
    assert statuses == [304, 304, 304, 503]


@pytest.mark.parametrize("page", ["{here}", "{here}/tag/v1", "{here}/manifest/{digest}"])
def test_a_page_of_copies_is_sent_again_only_if_they_changed(
    sites: dict[str, MemorySite], page: str
) -> None:
    browser, here = PanelBrowser(sites["us"], READER), "/repository/admin/public"
    database = sites["us"].database
    database.run(
        "DELETE FROM imagestorageplacement p USING imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'eu' RETURNING 1"
    )
    found = ApiClient(sites["us"]).call("GET", "repository/admin/public/tag/")["tags"]
    (digest,) = (one["manifest_digest"] for one in found if one["name"] == "v1")
    answer = browser.get(page.format(here=here, digest=digest))
    version, (path,) = answer.headers["etag"], re.findall(r'hx-get="([^"]*)"', answer.text)
    assert f'data-version="{version.strip(chr(34))}"' in answer.text
    assert poll(browser, path, version).status_code == 304
    database.run("DELETE FROM replicationtask RETURNING 1")
    database.run(
        "INSERT INTO imagestorageplacement (storage_id, location_id) SELECT s.id, l.id"
        " FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu'"
        " ON CONFLICT DO NOTHING RETURNING 1"
    )
    changed = poll(browser, path, version)
    assert changed.status_code == 200
    # A complete image does not change by itself.
    assert "hx-get" not in changed.text


def test_a_session_that_has_ended_gets_no_changed_page(sites: dict[str, MemorySite]) -> None:
    browser = PanelBrowser(sites["us"], SUPERUSER)
    version = browser.get("/superuser").headers["etag"]
    sites["us"].database.run(
        "UPDATE \"user\" SET password_hash = password_hash || '.' WHERE username = %s RETURNING 1",
        [SUPERUSER],
    )
    try:
        assert poll(browser, "/superuser", version).status_code == 304
        see(sites["us"], "eu")
        assert poll(browser, "/superuser", version).status_code == 303
    finally:
        sites["us"].database.run(
            "UPDATE \"user\" SET password_hash = rtrim(password_hash, '.') WHERE username = %s"
            " RETURNING 1",
            [SUPERUSER],
        )


def test_only_operators_see_the_map(sites: dict[str, MemorySite]) -> None:
    for user, seen in ((SUPERUSER, True), (AUDITOR, True), (READER, False), (None, False)):
        page = PanelBrowser(sites["us"], user).get("/")
        assert ("Map of sites" in page.text) is seen
        assert ("etag" in page.headers) is seen
        assert ("hx-get" in page.text) is seen


def test_the_first_page_shows_operators_the_problems_of_atoll_status(
    sites: dict[str, MemorySite],
) -> None:
    assert "No problems" in PanelBrowser(sites["us"], SUPERUSER).text("/")
    sites["us"].database.run("UPDATE instance SET seen_at = now() - interval '5 minutes'")
    page = PanelBrowser(sites["us"], SUPERUSER).text("/")
    assert "2 problems" in page
    assert "registry of us eu was seen " in page


def test_the_map_shows_lag_and_states_of_locations(sites: dict[str, MemorySite]) -> None:
    push_image(sites["us"], "new", "new")
    sites["us"].database.run(
        "UPDATE imagestoragelocation SET state = 'draining' WHERE name = 'us' RETURNING 1"
    )
    page = PanelBrowser(sites["us"], SUPERUSER).text("/superuser")
    assert ">draining</text>" in page
    assert page.count("blobs, ") >= 2
    assert "due for" in page


def test_hostile_names_are_escaped_in_the_map(sites: dict[str, MemorySite]) -> None:
    sites["us"].database.run(
        "UPDATE instance SET hostname = %s, version = %s RETURNING 1", [HOSTILE, HOSTILE]
    )
    for path in PAGES:
        html = PanelBrowser(sites["us"], SUPERUSER).get(path).text
        assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_pages_are_as_ever_while_stores_are_dead(sites: dict[str, MemorySite]) -> None:
    # Redis is unavailable in these tests anyway.
    paths = (*PAGES, "/repository/", "/repository/admin/public/tag/v1", "/search?q=public")
    browser = PanelBrowser(sites["us"], SUPERUSER)
    before = {path: browser.get(path).text.count("<h2") for path in paths}
    for name, store in sites["us"].stores.items():
        store.down = True
        sites["us"].probe(name)
    for path in paths:
        assert browser.get(path).text.count("<h2") == before[path]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_its_database_every_page_shows_what_the_process_knows_of_stores(
    sites: dict[str, MemorySite], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    us = sites["us"]
    browser = PanelBrowser(us, SUPERUSER)
    us.locations.health.observe("eu", StoreUnreachable("eu", "s3.internal refuses connections"))

    def fail(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("host db-1 does not answer")

    for name in ("read", "run", "transaction"):
        monkeypatch.setattr(type(us.database), name, fail)
    for path in (*PAGES, "/search", "/signin/", "/repository/", "/panel/licences"):
        answer = browser.request(method, path)
        if answer.status_code == 405:
            continue
        assert answer.status_code == 503, path
        assert "The database is unavailable" in answer.text
        assert answer.headers["retry-after"] == "5"
        assert "db-1" not in answer.text
        assert "s3.internal" not in answer.text
        for word in ("up", "down"):
            assert f"</svg>{word}</span>" in answer.text

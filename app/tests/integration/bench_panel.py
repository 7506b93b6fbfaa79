"""Measure the server time of the panel's pages in a large registry.

100,000 repositories, of which one has 1,000 tags, and a week of samples of the lag of 50 locations.
`make benchmark` prints the figures. With ATOLL_TEST_POSTGRES_URI, it uses that server and not a
container.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from atoll.server.migration import prepare_database

from ..cheap_hashes import cheap_hashes
from ..durability.databases import administer, database_uri
from ..durability.panel_browser import PanelBrowser, poll, statements
from ..durability.panel_site import PUBLIC, READER, make_panel_site
from ..durability.sites import SUPERUSER, MemorySite, make_registry
from .services import running_postgres

REPOSITORIES, TAGS, LOCATIONS = 100_000, 1000, 50
REQUESTS = 100
OPEN_PAGES, POLL_SECONDS = 200, 2
# Pages for users, and the statements that they may cost.
USER_PAGES = {
    "/": 3,
    "/repository/": 3,
    "/search?q=repositry-77": 3,
    f"/repository/{PUBLIC}": 3,
    f"/repository/{PUBLIC}?filter=99": 3,
    f"/user/{READER}": 3,
    "/organization/": 3,
    "/organization/large": 3,
}
OPERATOR_PAGES = ("/", "/superuser", "/superuser/locations/us", "/superuser/replication?hours=168")

_FILL = """
INSERT INTO "user" (username, organization) VALUES ('large', true);
INSERT INTO repository (namespace_user_id, name, visibility)
SELECT n.id, 'repository-' || g, CASE WHEN g %% 2 = 0 THEN 'public' ELSE 'private' END
FROM "user" n, generate_series(1, %(repositories)s) g WHERE n.username = 'large';
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
SELECT t.repository_id, 'v1.' || g, t.manifest_id, t.lifetime_start_ms
FROM tag t JOIN repository r ON r.id = t.repository_id, generate_series(1, %(tags)s) g
WHERE r.name = %(name)s AND t.name = 'v1';
INSERT INTO imagestoragelocation (name) SELECT 'location-' || g
FROM generate_series(1, %(locations)s - 1) g;
INSERT INTO lagsample (location_id, at, blobs, bytes, seconds)
SELECT l.id, now() - make_interval(secs => 30 * g), g %% 100, g * 1000, g %% 60
FROM imagestoragelocation l, generate_series(0, 7 * 2880 - 1) g;
INSERT INTO lagpeak (location_id, at, blobs, bytes, seconds)
SELECT l.id, now() - make_interval(secs => 300 * g), g %% 100, g * 1000, g %% 60
FROM imagestoragelocation l, generate_series(0, 7 * 288 - 1) g;
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemorySite]:
    name = f"atoll_{uuid.uuid4().hex}"
    with ExitStack() as stack:
        stack.enter_context(cheap_hashes())
        postgres = os.environ.get("ATOLL_TEST_POSTGRES_URI")
        postgres = postgres or stack.enter_context(running_postgres())
        administer(postgres, f"CREATE DATABASE {name}")
        uri = database_uri(postgres, name)
        directory = tmp_path_factory.mktemp("site")
        prepare_database(make_registry(uri, directory / "first", ["us"])["us"].graph)
        site = make_panel_site(uri, directory / "site")
        values = {
            "repositories": REPOSITORIES,
            "tags": TAGS,
            "locations": LOCATIONS,
            "name": PUBLIC.name,
        }
        site.graph.batch_database.run(_FILL, values)
        administer(uri, "VACUUM ANALYZE")
        yield site
        site.database.forget_idle()
        administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def user(site: MemorySite) -> PanelBrowser:
    return PanelBrowser(site, READER)


@pytest.fixture(scope="module")
def operator(site: MemorySite) -> PanelBrowser:
    return PanelBrowser(site, SUPERUSER)


def measure(browser: PanelBrowser, page: str) -> int:
    """Request a page often, print what it costs, and return its statements."""
    milliseconds, number = [], 0
    for _ in range(REQUESTS):
        answer = browser.get(page)
        found = re.search(r"total;dur=([0-9.]+)", answer.headers["server-timing"])
        assert found is not None
        milliseconds.append(float(found[1]))
        number = statements(answer)
    milliseconds.sort()
    print(  # noqa: T201
        f"  {page:<44} median {milliseconds[REQUESTS // 2]:6.1f} ms  99 %"
        f" {milliseconds[REQUESTS * 99 // 100]:6.1f} ms  {number} statements"
    )
    return number


def test_pages_of_users(user: PanelBrowser) -> None:
    print(f"\n{REPOSITORIES} repositories, {TAGS} tags")  # noqa: T201
    costs = {page: measure(user, page) for page in USER_PAGES}
    assert {page: cost for page, cost in costs.items() if cost > USER_PAGES[page]} == {}


def test_pages_of_operators(operator: PanelBrowser) -> None:
    print(f"\n{LOCATIONS} locations, {LOCATIONS * 7 * 2880} samples of their lag")  # noqa: T201
    for page in OPERATOR_PAGES:
        measure(operator, page)


def test_open_pages_of_operators(site: MemorySite) -> None:
    """200 open pages, each of which asks every two seconds whether anything has changed."""
    browsers = [PanelBrowser(site, SUPERUSER) for _ in range(5)]
    versions = [browser.get("/superuser").headers["etag"] for browser in browsers]
    began, requests = time.process_time(), 0
    for _ in range(OPEN_PAGES // len(browsers)):
        for browser, version in zip(browsers, versions, strict=True):
            assert poll(browser, "/superuser", version).status_code == 304
            requests += 1
    seconds = (time.process_time() - began) / requests
    share = seconds * OPEN_PAGES / POLL_SECONDS
    print(  # noqa: T201
        f"\n  {OPEN_PAGES} open pages: {share:.1%} of a core, {seconds * 1000:.2f} ms a request"
    )
    assert share < 0.1

"""No text that a user can store runs in the browser of another user."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from atoll.names import RepositoryName
from playwright.sync_api import Browser

from .api_client import PASSWORD, ApiClient
from .databases import administer, database_uri
from .hostile_texts import TEXTS
from .mirror_images import put
from .mirrors import add_mirror, add_run, add_task
from .panel_chromium import Tab, running_chromium, served, signed_in
from .panel_site import make_panel_site
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest

GUILD = "organization/guild"
IMAGE = RepositoryName(SUPERUSER, "image")
# Pages and how many texts each shows at least; some are divided, and some show one.
PAGES = {
    "/": 10,
    "/search?q=hostile": 5,
    f"/repository/{IMAGE}/tag/v1": len(TEXTS),
    f"/repository/{IMAGE}/manifest/DIGEST/labels": len(TEXTS),
    f"/repository/{IMAGE}?tab=notifications": len(TEXTS),
    f"/repository/{SUPERUSER}/mirrored?tab=mirroring": len(TEXTS),
    f"/{GUILD}?tab=teams": len(TEXTS),
    f"/{GUILD}?tab=robots": len(TEXTS),
    f"/{GUILD}?tab=applications": len(TEXTS),
    f"/{GUILD}?tab=logs": 5,
    f"/user/{SUPERUSER}?tab=tokens": len(TEXTS),
    f"/user/{SUPERUSER}?tab=logs": 5,
    "/superuser/messages": len(TEXTS),
    "/superuser/mirrors": 1,
    "/superuser/logs": 5,
}


@pytest.fixture(scope="module")
def site(
    postgres_uri: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemorySite]:
    """A site with each text in each place."""
    name = f"{template}_hostile"
    administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    uri = database_uri(postgres_uri, name)
    site = make_panel_site(uri, tmp_path_factory.mktemp("site"))
    api = ApiClient(site)
    fill_organization(api)
    fill_repositories(site, api)
    fill_mirrors(site)
    for text in TEXTS:
        body = {"content": text, "media_type": "text/plain", "severity": "info"}
        api.call("POST", "messages", {"message": body}, status=201)
        api.call("POST", "user/apptoken", {"title": text})
    yield site
    administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def fill_organization(api: ApiClient) -> None:
    """Store the texts as descriptions of teams and robots, and in applications."""
    api.call("POST", "organization/", {"name": "guild"}, status=201)
    for number, text in enumerate(TEXTS):
        api.call("PUT", f"{GUILD}/team/team{number}", {"role": "member", "description": text})
        api.call("PUT", f"{GUILD}/robots/robot{number}", {"description": text}, status=201)
        api.call("POST", f"{GUILD}/applications", {"name": text, "description": text})


def fill_repositories(site: MemorySite, api: ApiClient) -> None:
    """Store the texts as descriptions of repositories, and in an image, labels and webhooks."""
    for number, text in enumerate(TEXTS):
        repository = RepositoryName(SUPERUSER, f"hostile-{number}")
        site.graph.repositories.create(repository, "public", SUPERUSER, text)
    site.graph.repositories.create(IMAGE, "public", SUPERUSER)
    digest = push_image(site)
    for number, text in enumerate(TEXTS):
        label = {"key": f"text-{number}", "value": text}
        api.call("POST", f"repository/{IMAGE}/manifest/{digest}/labels", label, status=201)
    # A repository has at most 20 notifications.
    for one, other in zip(TEXTS[::2], TEXTS[1::2], strict=True):
        webhook = {"event": "repo_push", "method": "webhook", "title": f"{one} {other}"}
        webhook["config"] = {"url": "http://127.0.0.1:1/"}
        api.call("POST", f"repository/{IMAGE}/notification/", webhook, status=201)


def push_image(site: MemorySite) -> str:
    """Push an image with the texts in its history, settings, labels and annotations."""
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "author": TEXTS[0],
            "config": {"Cmd": TEXTS, "Env": TEXTS, "Labels": {text: text for text in TEXTS}},
            "history": [{"created_by": text, "comment": text} for text in TEXTS],
        }
    ).encode()
    site.repository = IMAGE
    site.push(config)
    site.push(b"a layer")
    manifest = json.loads(image_manifest(config, [b"a layer"]))
    manifest["annotations"] = {text: text for text in TEXTS}
    return str(put(site, json.dumps(manifest).encode(), MANIFEST_TYPE, "v1"))


def fill_mirrors(site: MemorySite) -> None:
    """Store the texts as errors that upstreams sent."""
    failed = {"sync_status": "FAIL", "reason": "partial", "status_message": TEXTS[0]}
    add_mirror(site.database, "failed", **failed)
    mirror = add_mirror(site.database, "mirrored")
    run = add_run(site.database, mirror, tags_total=len(TEXTS))
    for number, text in enumerate(TEXTS):
        add_task(site.database, run, f"v{number}", "failed")
        site.database.run(
            "UPDATE mirrortask SET last_error = %s WHERE run_id = %s AND tag = %s RETURNING 1",
            [text, run, f"v{number}"],
        )


@pytest.fixture(scope="module")
def url(site: MemorySite) -> Iterator[str]:
    with served(site) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Browser, url: str) -> Iterator[Tab]:
    cookies = signed_in(browser, url, SUPERUSER, PASSWORD)
    context = browser.new_context(storage_state=cookies)
    tab = Tab.opened(context, url)
    # A dialog is closed at once, because the page would wait for it.
    tab.page.on("dialog", lambda dialog: (tab.problems.append("a script ran"), dialog.dismiss()))
    yield tab
    context.close()


def shown(tab: Tab, page: str) -> set[int]:
    """Open a page, check that no text took effect, and return the numbers of those it shows."""
    tab.open(page)
    # Texts that react to the pointer or to the focus have their occasion.
    tab.page.mouse.move(200, 300)
    tab.page.keyboard.press("Tab")
    assert tab.page.locator("[data-hostile], [hx-on\\:click], main base, main meta").count() == 0
    assert tab.page.locator("a[href^='javascript:' i]").count() == 0
    content = str(tab.page.text_content("body"))
    assert "1337" not in content
    assert tab.problems == []
    assert tab.other_origins == set()
    return {number for number, text in enumerate(TEXTS) if text in content}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_many_texts_runs_none_of_them(tab: Tab, site: MemorySite, page: str) -> None:
    (tag,) = ApiClient(site).call("GET", f"repository/{IMAGE}/tag/")["tags"]
    assert len(shown(tab, page.replace("DIGEST", tag["manifest_digest"]))) >= PAGES[page]


def test_the_page_of_a_repository_does_not_run_its_description(tab: Tab) -> None:
    for number in range(len(TEXTS)):
        page = f"/repository/{SUPERUSER}/hostile-{number}?tab=information"
        assert number in shown(tab, page)

"""Users see the history of tags, restore, delete, add and expire them, and label images."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest, RepositoryName

from .api_client import ApiClient
from .mirror_images import INDEX_TYPE, index_of, put
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    ADMINISTRATOR,
    HOSTILE,
    WRITER,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_fresh_login,
    check_refused_users,
    private_repository,
)
from .panel_site import READER, STRANGER, push_tag
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry

NAME = RepositoryName(SUPERUSER, "tagged")
HERE = f"/repository/{NAME}"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite) -> Browsers:
    private_repository(panel_site, NAME.name)
    return Browsers(panel_site)


@pytest.fixture
def writer(browsers: Browsers) -> PanelBrowser:
    return browsers[WRITER]


@pytest.fixture
def images(panel_site: MemorySite) -> list[str]:
    """Two images; the tag that `tag` names had the first and has the second."""
    digests = [push_tag(panel_site, NAME, f"image{next(_numbers)}") for _ in range(2)]
    for digest in digests:
        point(panel_site, digest)
    return [str(one) for one in digests]


def point(site: MemorySite, digest: Digest) -> None:
    body = {"manifest_digest": str(digest)}
    ApiClient(site).call("PUT", f"{HERE[1:]}/tag/v1", body, status=201)


def tag(site: MemorySite, name: str = "v1") -> dict[str, Any] | None:
    query = {"specificTag": name, "onlyActiveTags": "true"}
    found = ApiClient(site).call("GET", f"{HERE[1:]}/tag/", query=query)["tags"]
    return found[0] if found else None


def labels(site: MemorySite, digest: str) -> list[dict[str, Any]]:
    found = ApiClient(site).call("GET", f"{HERE[1:]}/manifest/{digest}/labels")
    return list(found["labels"])


def forms(digest: str) -> dict[str, dict[str, str]]:
    return {
        f"{HERE}/tag/v1/delete": {},
        f"{HERE}/tag/v1/expiration": {"expires": "2100-01-01 00:00"},
        f"{HERE}/tag/v1/restore": {"manifest_digest": digest},
        f"{HERE}/manifest/{digest}/tag": {"tag": "v1", "move": "true"},
        f"{HERE}/manifest/{digest}/labels": {"key": "team", "value": "blue"},
    }


def test_the_list_has_kinds_platforms_expirations_and_the_last_pulls(
    panel_uri: str, panel_site: MemorySite, browsers: Browsers, tmp_path: Path
) -> None:
    name = RepositoryName(SUPERUSER, "kinds")
    panel_site.graph.repositories.create(name, "public", SUPERUSER)
    image = push_tag(panel_site, name, "plain")
    put(panel_site, index_of({"arm64": image, "amd64": image, "x<b>": image}), INDEX_TYPE, "index")
    chart = json.loads(image_manifest(b'{"tag": "plain"}', []))
    chart["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    put(panel_site, json.dumps(chart).encode(), MANIFEST_TYPE, "chart")
    large = {**chart, "annotations": {"text": "x" * 70_000}, "artifactType": "application/x"}
    put(panel_site, json.dumps(large).encode(), MANIFEST_TYPE, "large")
    api, path = ApiClient(panel_site), f"repository/{name}/tag"
    api.call("PUT", f"{path}/plain", {"expiration": 4102444800}, status=201)
    page = browsers[READER].get(f"/repository/{name}")
    kinds = dict(re.findall(r'/tag/(\w+)">.*?data-label="Kind"><span>([\w ]+)', page.text, re.S))
    # The type of a large manifest is not read.
    assert kinds == {"plain": "image", "index": "index", "chart": "Helm chart", "large": "image"}
    assert "linux/arm64, linux/amd64<" in page.text
    assert 'expires <time datetime="2100-01-01T00:00:00Z"' in page.text
    assert statements(page) <= 3
    assert "Last pull" not in page.text
    api.call("GET", f"{path}/", query={"pulls": "true"}, status=400)
    panel_site.database.run(
        "INSERT INTO tagpullstatistics SELECT id, 'plain', 7, '2026-01-02', 'x' FROM repository"
        " WHERE name = 'kinds' RETURNING tag_name"
    )
    changes = {"FEATURE_IMAGE_PULL_STATS": True, "FEATURE_SERVER_TIMING": True}
    counting = make_registry(panel_uri, tmp_path, ["us"], changes)["us"]
    found = ApiClient(counting).call("GET", f"{path}/", query={"pulls": "true"})["tags"]
    assert {one["name"]: one["tag_pull_count"] for one in found} == {
        "plain": 7, "index": 0, "chart": 0, "large": 0,
    }  # fmt: skip
    ApiClient(counting, STRANGER).call("GET", f"{path}/", query={"pulls": "true"}, status=403)
    page = PanelBrowser(counting, SUPERUSER).get(f"/repository/{name}")
    assert "2026-01-02 00:00 UTC" in page.text
    assert statements(page) <= 3
    assert "Last pull" not in PanelBrowser(counting, STRANGER).text(f"/repository/{name}")


def test_the_page_of_an_image_costs_three_statements(browsers: Browsers, images: list[str]) -> None:
    for page in ("tag/v1", f"manifest/{images[0]}"):
        assert statements(browsers[READER].get(f"{HERE}/{page}")) == 3


def test_the_history_lists_the_past_images_of_a_tag(browsers: Browsers, images: list[str]) -> None:
    page = browsers[READER].text(f"{HERE}?tab=history&tag=v1")
    past, present = images
    assert page.index(f'title="{present}"') < page.index(f'title="{past}"')
    assert page.count("current</span>") == 1
    assert ">set<" in page
    assert "/restore?" not in page
    assert "/restore?" in browsers[WRITER].text(f"{HERE}?tab=history&tag=v1")
    log = f'<a href="{HERE}?tab=logs">log</a>'
    assert log not in page
    assert log in browsers[ADMINISTRATOR].text(f"{HERE}?tab=history&tag=v1")


def test_the_pages_of_the_history_list_each_entry_once(
    panel_site: MemorySite, browsers: Browsers
) -> None:
    name = RepositoryName(SUPERUSER, "long")
    panel_site.graph.repositories.create(name, "public", SUPERUSER)
    push_tag(panel_site, name, "v1")
    # Of one moment, so that the order depends on the names and the ids.
    panel_site.database.run(
        "INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms, lifetime_end_ms)"
        " SELECT repository_id, 'old' || number / 2, manifest_id, 1000, 2000"
        " FROM tag, generate_series(1, 120) AS number WHERE repository_id ="
        " (SELECT id FROM repository WHERE name = 'long') AND lifetime_start_ms > 2000"
        " RETURNING id"
    )
    page, seen = f"/repository/{name}?tab=history", 0
    for rows in (50, 50, 21):
        source = browsers[None].text(page)
        assert source.count('<th scope="row">') == rows
        seen += rows
        following = re.search(r'href="([^"]+)" rel="next"', source)
        if rows == 50:
            assert following is not None
            page = following[1]
    assert following is None
    assert seen == 121


def test_a_tag_is_restored_from_the_history(
    panel_site: MemorySite, writer: PanelBrowser, images: list[str]
) -> None:
    page = writer.get(f"{HERE}?tab=history&tag=v1").text
    form = re.search(r'href="([^"]+/restore\?[^"]+)"', page)
    assert form is not None
    confirmation = writer.text(form[1].replace("&amp;", "&"))
    assert all(digest in confirmation for digest in images)
    path = f"{HERE}/tag/v1/restore"
    location = writer.submit(path, {"manifest_digest": images[0]}, page=form[1])
    assert location == f"{HERE}/tag/v1"
    current = tag(panel_site)
    assert current is not None
    assert (current["manifest_digest"], current["reversion"]) == (images[0], True)
    assert ">restored<" in writer.text(f"{HERE}?tab=history&tag=v1")


def test_a_deletion_is_confirmed_and_can_be_undone(
    panel_site: MemorySite, writer: PanelBrowser, images: list[str]
) -> None:
    assert f'href="{HERE}/tag/v1/delete"' in writer.text(HERE)
    assert "14 d" in writer.text(f"{HERE}/tag/v1/delete")
    assert tag(panel_site) is not None
    assert writer.submit(f"{HERE}/tag/v1/delete", {}) == HERE
    assert tag(panel_site) is None
    writer.get(f"{HERE}/tag/v1/delete", status=404)
    page = f"{HERE}/tag/v1/restore?digest={images[1]}"
    assert "the tag does not exist" in writer.text(page)
    writer.submit(f"{HERE}/tag/v1/restore", {"manifest_digest": images[1]}, page=page)
    assert tag(panel_site) is not None


def test_the_history_of_a_tag_is_deleted_with_its_name_and_the_password(
    panel_site: MemorySite, browsers: Browsers, images: list[str]
) -> None:
    browser, path = browsers[ADMINISTRATOR], f"{HERE}/tag/v1/forget"
    page = f"{HERE}?tab=history&tag=v1"

    def past() -> int:
        query = {"specificTag": "v1"}
        found = ApiClient(panel_site).call("GET", f"{HERE[1:]}/tag/", query=query)["tags"]
        return len(found) - 1

    assert f'href="{path}"' in browser.text(page)
    assert path not in browsers[WRITER].text(page)
    check_fresh_login(browser, path, {"tag": "v1"}, past)
    check_forged_forms(browsers, ADMINISTRATOR, {path: {"tag": "v1"}}, past)
    check_refused_users(browsers, {path: {"tag": "v1"}}, {SUPERUSER, ADMINISTRATOR}, past)
    browsers[WRITER].get(path, status=403)
    assert past() > 0
    assert browser.submit(path, {"tag": "v1"}) == page
    assert past() == 0
    assert (tag(panel_site) or {})["manifest_digest"] == images[1]
    assert path not in browser.text(page)


def test_an_expiration_is_set_in_utc_and_removed(
    panel_site: MemorySite, writer: PanelBrowser, images: list[str]
) -> None:
    del images
    path = f"{HERE}/tag/v1/expiration"
    assert writer.submit(path, {"expires": "2100-01-02T03:04"}) == f"{HERE}/tag/v1"
    current = tag(panel_site)
    assert current is not None
    assert current["end_ts"] == datetime(2100, 1, 2, 3, 4, tzinfo=UTC).timestamp()
    assert "2100-01-02 03:04 UTC" in writer.text(f"{HERE}/tag/v1")
    writer.submit(path, {"expires": "", "never": "true"})
    assert "end_ts" not in (tag(panel_site) or {})
    for wrong, text in (("2001-01-01 00:00", "in the future"), ("soon", "YYYY-MM-DD")):
        answer = writer.send(path, {"expires": wrong}, token=writer.token(path))
        assert answer.status_code == 400
        assert text in answer.text
        assert f'value="{wrong}"' in answer.text


def test_an_image_gets_a_tag_and_a_tag_is_moved_only_on_confirmation(
    panel_site: MemorySite, writer: PanelBrowser, images: list[str]
) -> None:
    path = f"{HERE}/manifest/{images[0]}/tag"
    assert writer.submit(path, {"tag": "stable"}) == f"{HERE}/tag/stable"
    assert (tag(panel_site, "stable") or {})["manifest_digest"] == images[0]
    answer = writer.send(path, {"tag": "v1"}, token=writer.token(path))
    assert answer.status_code == 400
    assert 'name="move"' in answer.text
    assert (tag(panel_site) or {})["manifest_digest"] == images[1]
    writer.submit(path, {"tag": "v1", "move": "true"})
    assert (tag(panel_site) or {})["manifest_digest"] == images[0]
    answer = writer.send(path, {"tag": "no tag"}, token=writer.token(path))
    assert answer.status_code == 400


def test_labels_are_added_and_removed(
    panel_site: MemorySite, writer: PanelBrowser, images: list[str]
) -> None:
    path = f"{HERE}/manifest/{images[0]}/labels"
    assert f'href="{path}"' in writer.text(f"{HERE}/manifest/{images[0]}")
    assert writer.submit(path, {"key": "team", "value": HOSTILE}) == path
    (label,) = labels(panel_site, images[0])
    assert (label["key"], label["value"]) == ("team", HOSTILE)
    check_escaped(writer, path)
    answer = writer.send(path, {"key": "UPPER", "value": HOSTILE}, token=writer.token(path))
    assert answer.status_code == 400
    assert "&lt;script&gt;" in answer.text
    writer.submit(path, {"remove": label["id"]})
    assert labels(panel_site, images[0]) == []


def test_forms_of_tags_need_the_token_of_their_session(
    panel_site: MemorySite, browsers: Browsers, images: list[str]
) -> None:
    check_forged_forms(
        browsers,
        WRITER,
        forms(images[0]),
        lambda: (tag(panel_site), labels(panel_site, images[0])),
    )


def test_forms_of_tags_need_write_permission(
    panel_site: MemorySite, browsers: Browsers, images: list[str]
) -> None:
    check_refused_users(
        browsers,
        forms(images[0]),
        {SUPERUSER, ADMINISTRATOR, WRITER},
        lambda: (tag(panel_site), labels(panel_site, images[0])),
    )
    reader = browsers[READER]
    for page in (HERE, f"{HERE}/tag/v1", f"{HERE}/manifest/{images[0]}/labels"):
        assert not re.search(r"/delete|/expiration|/restore|/tag\"|name=\"key\"", reader.text(page))
    for form in ("tag/v1/delete", "tag/v1/expiration", f"tag/v1/restore?digest={images[0]}"):
        reader.get(f"{HERE}/{form}", status=403)
    browsers[STRANGER].get(f"{HERE}?tab=history", status=403)


def test_a_read_only_repository_offers_no_changes_of_tags(
    panel_site: MemorySite, browsers: Browsers, images: list[str]
) -> None:
    path, administrator = f"{HERE[1:]}/changestate", ApiClient(panel_site)
    administrator.call("PUT", path, {"state": "READ_ONLY"})
    assert "/delete" not in browsers[WRITER].text(HERE)
    assert "/restore" not in browsers[WRITER].text(f"{HERE}?tab=history")
    for form, fields in forms(images[0]).items():
        answer = browsers[WRITER].send(form, fields, token=browsers[WRITER].token("/"))
        assert answer.status_code == 503
        assert "read only" in answer.text
    administrator.call("PUT", path, {"state": "NORMAL"})


def test_pages_of_tags_cost_at_most_three_statements(
    writer: PanelBrowser, images: list[str]
) -> None:
    for page in (
        HERE,
        f"{HERE}?tab=history",
        f"{HERE}/manifest/{images[0]}/labels",
        f"{HERE}/manifest/{images[0]}/tag",
        *(f"{HERE}/tag/v1/{form}" for form in ("delete", "expiration")),
        f"{HERE}/tag/v1/restore?digest={images[0]}",
    ):
        assert statements(writer.get(page)) <= 3, page


def test_hostile_filters_of_the_history_are_escaped(browsers: Browsers) -> None:
    page = f"{HERE}?tab=history&filter=%3Cscript%3Ealert(1)%3C/script%3E"
    source = browsers[READER].get(page).text
    assert "&lt;script&gt;" in source
    assert "<script>alert" not in source
    browsers[READER].get(f"{HERE}?tab=history&tag=%3Cscript%3E", status=400)
    browsers[READER].get(f"{HERE}?tab=history&next_page=x", status=400)
    browsers[READER].get(f"{HERE}?tab=none", status=404)

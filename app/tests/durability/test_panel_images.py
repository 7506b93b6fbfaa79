"""The page of an image shows platforms, layers, copies and referrers, and escapes their texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.names import Digest

from .api_client import ApiClient
from .mirror_images import INDEX_TYPE, index_of, put
from .panel_browser import PanelBrowser
from .panel_site import PRIVATE, READER, STRANGER, make_panel_site
from .sites import MANIFEST_TYPE, MemorySite, image_manifest

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
LAYER = b"a layer"
CONFIG = {
    "created": "2026-01-02T03:04:05Z",
    "author": HOSTILE,
    "os": "linux",
    "architecture": "arm64",
    "config": {"Cmd": [HOSTILE], "Labels": {HOSTILE: HOSTILE}},
    "history": [{"created_by": f"RUN {HOSTILE}"}],
}
HERE = f"/repository/{PRIVATE}"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    return make_panel_site(make_database(), tmp_path)


def push(site: MemorySite, tag: str | None = None, **changes: object) -> Digest:
    """Push an image with hostile texts to the private repository."""
    config = json.dumps(CONFIG).encode()
    site.push(config)
    site.push(LAYER)
    manifest = {**json.loads(image_manifest(config, [LAYER])), **changes}
    return put(site, json.dumps(manifest).encode(), MANIFEST_TYPE, tag)


def test_the_page_of_a_tag_shows_its_image(site: MemorySite) -> None:
    digest = push(site, "hostile")
    page = PanelBrowser(site, READER).text(f"{HERE}/tag/hostile")
    for fact in (
        str(digest),
        "linux/arm64",
        Digest.of(LAYER).hex[:12],
        f"RUN {HOSTILE}",
        f"podman pull registry.test/{PRIVATE}:hostile",
        f"podman pull registry.test/{PRIVATE}@{digest}",
    ):
        assert fact in page


def test_texts_of_an_image_are_escaped(site: MemorySite) -> None:
    digest = push(site, "hostile", annotations={HOSTILE: HOSTILE})
    put(
        site,
        json.dumps(
            {
                **json.loads(image_manifest(json.dumps(CONFIG).encode(), [LAYER])),
                "artifactType": "application/vnd.example.signature",
                "annotations": {HOSTILE: HOSTILE},
                "subject": {"mediaType": MANIFEST_TYPE, "digest": str(digest), "size": 1},
            }
        ).encode(),
        MANIFEST_TYPE,
    )
    source = PanelBrowser(site, READER).get(f"{HERE}/tag/hostile").text
    assert source.count("&lt;script&gt;") > 5
    assert "<script>alert" not in source
    assert "<img" not in source
    assert "{{7*7}}" in source


def test_the_page_of_an_index_links_to_its_platforms(site: MemorySite) -> None:
    image = push(site)
    absent = Digest.of(b"absent")
    listing = put(site, index_of({"arm64": image}), INDEX_TYPE, "list")
    browser = PanelBrowser(site, READER)
    assert f'href="{HERE}/manifest/{image}"' in browser.get(f"{HERE}/manifest/{listing}").text
    browser.get(f"{HERE}/manifest/{image}")
    browser.get(f"{HERE}/manifest/{absent}", status=404)
    browser.get(f"{HERE}/tag/none", status=404)


def test_an_image_is_shown_exactly_if_the_api_permits_it(site: MemorySite) -> None:
    digest = push(site, "hostile")
    for user, status in ((None, 303), (STRANGER, 403), (READER, 200)):
        browser = PanelBrowser(site, user)
        for path in (f"{HERE}/tag/hostile", f"{HERE}/manifest/{digest}"):
            browser.get(path, status=status)
        api = ApiClient(site, user).request("GET", f"{HERE[1:]}/manifest/{digest}/image")
        assert api.status_code == (401 if status == 303 else status)

"""The list of tags names the locations at which each image is complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll import round_trips
from atoll.placement.tasks import Tasks
from atoll.registry.image_completeness import ImageCompleteness

from .api_client import ApiClient
from .mirror_images import INDEX_TYPE, index_of, push_image, put
from .sites import MemorySite, make_registry

LOCATIONS = ["us", "eu"]


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with two images under three tags, of which eu has the first."""
    site = make_registry(make_database(), tmp_path, LOCATIONS)["us"]
    first = push_image(site, "first", "first")
    push_image(site, "first", "same")
    tasks = Tasks(site.database, "eu")
    while claimed := tasks.claim():
        tasks.finish(claimed)
    second = push_image(site, "second", "second")
    put(site, index_of({"amd64": first, "arm64": second}), INDEX_TYPE, "list")
    return site


def listed(site: MemorySite, **query: Any) -> dict[str, Any]:
    path = f"repository/{site.repository}/tag/"
    tags = ApiClient(site).call("GET", path, query=query)["tags"]
    return {(one["name"], one["manifest_digest"]): one.get("replication") for one in tags}


def test_each_active_tag_has_its_completeness(site: MemorySite) -> None:
    old = push_image(site, "third", "moved")
    new = push_image(site, "first", "moved")
    found = listed(site, replication=True)
    assert found.pop(("moved", str(old))) is None
    assert found["moved", str(new)]["complete"]
    single = ImageCompleteness(site.database, LOCATIONS)
    assert found == {
        (name, digest): single.of(site.repository, digest).as_dict() for name, digest in found
    }
    missing = {
        name: {one["location"]: one["missing_blobs"] for one in tag["locations"] if one["required"]}
        for (name, _), tag in found.items()
    }
    assert missing == {
        "first": {"us": 0, "eu": 0},
        "same": {"us": 0, "eu": 0},
        "moved": {"us": 0, "eu": 0},
        "second": {"us": 0, "eu": 2},
        "list": {"us": 0, "eu": 2},
    }


def test_tags_have_no_completeness_unless_it_is_requested(site: MemorySite) -> None:
    assert set(listed(site).values()) == {None}


def test_the_completeness_of_all_tags_costs_one_statement(site: MemorySite) -> None:
    query = ImageCompleteness(site.database, LOCATIONS)
    round_trips.reset()
    assert len(query.of_tags(site.repository, ["first", "same", "second", "list", "none"])) == 4
    assert round_trips.counts()[round_trips.DATABASE] == 1

"""Which tags of a mirror need no copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from atoll import round_trips
from atoll.mirroring.copying.presence import Presence
from atoll.names import Digest

from .mirror_images import INDEX_TYPE, bound, index_of, push_image, put
from .sites import MemorySite, make_registry


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    sparse: dict[str, object] = {"FEATURE_SPARSE_INDEX": True}
    return make_registry(make_database(), tmp_path, ["us", "eu"], sparse)["us"]


def unchanged(site: MemorySite, tags: dict[str, Digest], *architectures: str) -> set[str]:
    wanted = {tag: str(digest) for tag, digest in tags.items()}
    return Presence(site.database).unchanged(bound(site), wanted, architectures)


def test_a_tag_with_its_digest_and_all_blobs_is_unchanged(site: MemorySite) -> None:
    one, other = push_image(site, "one", "one"), push_image(site, "other", "other")
    assert unchanged(site, {"one": one, "other": other, "new": one}) == {"one", "other"}
    assert unchanged(site, {"one": other}) == set()


def test_an_ended_or_expired_tag_is_changed(site: MemorySite) -> None:
    ended, expired = push_image(site, "a", "ended"), push_image(site, "b", "expired")
    site.graph.dependencies().tags.delete(bound(site), "ended")
    site.database.run("UPDATE tag SET expires_ms = 1 WHERE name = 'expired'")
    assert unchanged(site, {"ended": ended, "expired": expired}) == set()


def test_an_image_with_a_quarantined_blob_is_changed(site: MemorySite) -> None:
    tags = {"sound": push_image(site, "a", "sound"), "broken": push_image(site, "b", "broken")}
    site.database.run(
        "UPDATE imagestorageplacement SET state = 'suspect' WHERE storage_id ="
        " (SELECT id FROM imagestorage WHERE content_checksum = %s)",
        [str(Digest.of(b"layer b"))],
    )
    assert unchanged(site, tags) == {"sound"}


def test_an_index_is_complete_by_the_filter(site: MemorySite) -> None:
    amd64, absent = push_image(site, "amd64"), Digest.of(b"arm64")
    index = put(site, index_of({"amd64": amd64, "arm64": absent}), INDEX_TYPE, "latest")
    assert unchanged(site, {"latest": index}, "amd64") == {"latest"}
    assert unchanged(site, {"latest": index}, "amd64", "arm64") == set()
    assert unchanged(site, {"latest": index}) == set()


def test_a_deleted_image_of_an_index_is_a_gap(site: MemorySite) -> None:
    images = {"amd64": push_image(site, "amd64"), "arm64": push_image(site, "arm64")}
    index = put(site, index_of(images), INDEX_TYPE, "latest")
    assert unchanged(site, {"latest": index}) == {"latest"}
    site.manifests().delete(bound(site), images["arm64"])
    assert unchanged(site, {"latest": index}, "amd64") == {"latest"}
    assert unchanged(site, {"latest": index}) == set()


def test_a_broken_blob_below_a_nested_index_counts(site: MemorySite) -> None:
    inner = put(site, index_of({"amd64": push_image(site, "amd64")}), INDEX_TYPE)
    outer = put(site, index_of({"": inner}), INDEX_TYPE, "latest")
    assert unchanged(site, {"latest": outer}) == {"latest"}
    site.database.run("UPDATE imagestorageplacement SET state = 'suspect'")
    assert unchanged(site, {"latest": outer}) == set()


def test_a_thousand_tags_take_one_round_trip(site: MemorySite) -> None:
    digest = push_image(site, "one", "latest")
    name = bound(site)
    round_trips.reset()
    tags = {f"v{number}": str(digest) for number in range(1000)}
    assert Presence(site.database).unchanged(name, tags, ()) == set()
    assert round_trips.counts() == {round_trips.DATABASE: 1}


def test_manifests_are_found_by_digest(site: MemorySite) -> None:
    present, other = push_image(site, "a"), Digest.of(b"unknown")
    digests = [str(present), str(other)]
    found = Presence(site.database).complete_manifests(bound(site), digests, ())
    assert found == {str(present)}

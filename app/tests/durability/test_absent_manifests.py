"""With FEATURE_SPARSE_INDEX an index may list manifests that its repository does not have."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll import round_trips
from atoll.names import Digest, RepositoryName
from atoll.placement.locations.lost import Losses
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.completeness import Completeness
from atoll.placement.upkeep.garbage import Collector
from atoll.placement.upkeep.lag import lag
from atoll.registry.errors import ManifestBlobUnknown, ManifestUnknown
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.tag_history import TagHistory
from atoll.registry.untagged_manifests import UntaggedManifests
from atoll.web.app import create_app
from falcon import testing

from ..caches import RecordingCache
from .indexes import CONFIG, absent, image, index, put, wrong_references
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry

OTHER = RepositoryName("admin", "other")
AMD64, ARM64 = image(1), image(2)
INDEX = index(AMD64, ARM64)
SPARSE: dict[str, object] = {"FEATURE_SPARSE_INDEX": True}


@pytest.fixture
def uri(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def site(uri: str, tmp_path: Path) -> MemorySite:
    """A site whose repository has the blob of all images."""
    site = make_registry(uri, tmp_path / "sparse", ["us", "eu"], SPARSE)["us"]
    site.push(CONFIG)
    return site


@pytest.fixture
def strict(site: MemorySite, uri: str, tmp_path: Path) -> MemorySite:
    """The same registry without the feature."""
    del site
    return make_registry(uri, tmp_path / "strict", ["us", "eu"])["us"]


def push(site: MemorySite, content: bytes, tag: str | None = None) -> Digest:
    return put(site.manifests(), site.repository, content, tag)


def collect_deleted(site: MemorySite) -> None:
    site.database.run("UPDATE manifest SET deleted_at = deleted_at - interval '1 year'")
    Collector(site.database, site.graph.bundle, RecordingCache()).delete_manifests()


def collect_untagged(site: MemorySite) -> None:
    site.database.run("UPDATE manifest SET pushed_at = pushed_at - interval '1 day'")
    cache = ManifestCache(site.graph.redis)
    UntaggedManifests(site.database, site.graph.bundle, cache).step()


def is_pullable(site: MemorySite, digest: Digest) -> bool:
    try:
        return bool(site.manifests().get(site.repository, str(digest)))
    except ManifestUnknown:
        return False


def completeness(site: MemorySite, reference: str) -> Completeness:
    return ImageCompleteness(site.database, ["us", "eu"]).of(site.repository, reference)


def test_an_index_with_an_absent_image_is_refused_without_the_feature(strict: MemorySite) -> None:
    push(strict, AMD64)
    with pytest.raises(ManifestBlobUnknown) as refusal:
        push(strict, INDEX, "latest")
    assert refusal.value.digests == [str(Digest.of(ARM64))]
    assert not absent(strict)


def test_an_index_with_an_absent_image_is_stored_with_its_digest(site: MemorySite) -> None:
    push(site, AMD64)
    digest = push(site, INDEX, "latest")
    found = site.manifests().get(site.repository, "latest")
    assert (found.digest, found.content) == (digest, INDEX)
    assert is_pullable(site, Digest.of(AMD64))
    assert not is_pullable(site, Digest.of(ARM64))
    assert absent(site) == {(str(Digest.of(ARM64)), len(ARM64), MANIFEST_TYPE)}


def test_an_image_with_an_absent_layer_is_refused(site: MemorySite) -> None:
    with pytest.raises(ManifestBlobUnknown):
        push(site, image_manifest(CONFIG, [b"not pushed"]))


@pytest.mark.parametrize("size", [-1, 2**63, 1.5, True, "1", None])
def test_an_invalid_size_of_an_absent_image_is_not_recorded(site: MemorySite, size: object) -> None:
    document = json.loads(index(ARM64))
    document["manifests"][0] |= {"size": size, "mediaType": "no media type"}
    push(site, json.dumps(document).encode())
    assert absent(site) == {(str(Digest.of(ARM64)), None, None)}


def test_an_arriving_image_is_linked_to_every_index_that_lists_it(site: MemorySite) -> None:
    push(site, INDEX, "latest")
    push(site, index(ARM64), "arm")
    push(site, ARM64)
    assert absent(site) == {(str(Digest.of(AMD64)), len(AMD64), MANIFEST_TYPE)}
    assert not wrong_references(site.database)
    collect_untagged(site)
    assert is_pullable(site, Digest.of(ARM64))


def test_an_arriving_index_brings_its_own_absent_images(site: MemorySite) -> None:
    inner = index(ARM64)
    push(site, index(inner, AMD64), "outer")
    push(site, inner)
    assert not wrong_references(site.database)
    assert completeness(site, "outer").absent_manifests == 2
    push(site, ARM64)
    push(site, AMD64)
    assert not wrong_references(site.database)
    assert completeness(site, "outer").absent_manifests == 0


def test_an_image_of_another_repository_is_absent(site: MemorySite) -> None:
    site.graph.repositories.create_for_push("admin", OTHER)
    assert site.graph.blob_mounts.mount(OTHER, site.repository, Digest.of(CONFIG))
    put(site.manifests(), OTHER, ARM64)
    push(site, index(ARM64))
    assert len(absent(site)) == 1
    put(site.manifests(), OTHER, ARM64, "again")
    assert len(absent(site)) == 1
    assert not is_pullable(site, Digest.of(ARM64))


def test_pushes_cost_two_round_trips_with_absent_images_and_for_their_arrival(
    site: MemorySite,
) -> None:
    push(site, AMD64)
    for content in (INDEX, ARM64):
        round_trips.reset()
        push(site, content)
        assert round_trips.counts()[round_trips.DATABASE] == 2


def test_an_index_of_the_maximum_number_of_absent_images_is_stored(site: MemorySite) -> None:
    listed = [image(number) for number in range(1000)]
    push(site, index(*listed), "latest")
    assert len(absent(site)) == 1000
    push(site, listed[500])
    assert len(absent(site)) == 999
    assert not wrong_references(site.database)


def test_a_listed_image_that_is_listed_twice_is_recorded_once(site: MemorySite) -> None:
    push(site, index(ARM64, ARM64))
    assert len(absent(site)) == 1
    push(site, ARM64)
    assert not wrong_references(site.database)


def test_a_deleted_image_becomes_absent_and_arrives_again(site: MemorySite) -> None:
    for content in (AMD64, ARM64):
        push(site, content)
    push(site, INDEX, "latest")
    site.manifests().delete(site.repository, Digest.of(ARM64))
    assert not absent(site)
    assert completeness(site, "latest").absent_manifests == 1
    collect_deleted(site)
    assert absent(site) == {(str(Digest.of(ARM64)), len(ARM64), MANIFEST_TYPE)}
    assert completeness(site, "latest").absent_manifests == 1
    push(site, ARM64)
    assert not wrong_references(site.database)
    assert completeness(site, "latest").absent_manifests == 0


def test_a_deleted_image_can_be_restored_although_an_index_listed_it_meanwhile(
    site: MemorySite,
) -> None:
    push(site, ARM64, "arm")
    site.manifests().delete(site.repository, Digest.of(ARM64))
    push(site, index(ARM64), "latest")
    history = TagHistory(site.database, site.graph.redis, 3600)
    history.restore(site.repository, "arm", str(Digest.of(ARM64)))
    assert not wrong_references(site.database)
    assert completeness(site, "latest").absent_manifests == 0


def test_records_of_absent_images_are_deleted_with_their_index(site: MemorySite) -> None:
    digest = push(site, INDEX)
    push(site, ARM64, "arm")
    site.manifests().delete(site.repository, digest)
    collect_deleted(site)
    assert not absent(site)
    push(site, INDEX)
    collect_untagged(site)
    assert not absent(site)
    assert not is_pullable(site, digest)


def test_an_index_is_complete_where_the_present_images_are(site: MemorySite) -> None:
    push(site, AMD64)
    push(site, INDEX, "latest")
    found = completeness(site, "latest")
    required = [(one.location, one.blobs, one.complete) for one in found.locations if one.required]
    assert required == [("eu", 1, False), ("us", 1, True)]
    assert (found.complete, found.as_dict()["absent_manifests"]) == (False, 1)
    assert {one.location for one in lag(site.database) if one.pending_blobs} == {"eu"}
    assert Reconciler(site.database, ["us", "eu"]).step() == 0
    site.database.run(
        "DELETE FROM replicationtask; INSERT INTO imagestorageplacement (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eu'"
    )
    assert completeness(site, "latest").complete


def test_an_absent_image_is_not_lost_with_a_location(site: MemorySite) -> None:
    push(site, AMD64)
    push(site, INDEX, "latest")
    lost = Losses(site.database).expected("us")
    assert [one.digest for one in lost.blobs] == [str(Digest.of(CONFIG))]
    assert {one.digest for one in lost.images} == {str(Digest.of(one)) for one in (AMD64, INDEX)}


def test_an_image_arrives_although_the_feature_was_disabled_meanwhile(
    site: MemorySite, strict: MemorySite
) -> None:
    push(site, index(ARM64), "latest")
    push(strict, ARM64)
    assert not wrong_references(site.database)
    push(strict, index(ARM64), "again")


def test_tags_report_which_listed_images_can_be_pulled(site: MemorySite) -> None:
    client = testing.TestClient(create_app(site.graph.dependencies()))
    credentials = base64.b64encode(f"{SUPERUSER}:correct horse battery".encode()).decode()

    def presence(tag: str) -> dict[str, object]:
        answer = client.simulate_get(
            "/api/v1/repository/admin/app/tag/",
            params={"specificTag": tag},
            headers={"Authorization": f"Basic {credentials}"},
        )
        assert answer.status_code == 200, answer.text
        return {
            name: value
            for name, value in answer.json["tags"][0].items()
            if name == "is_sparse" or "child" in name
        }

    push(site, AMD64, "amd")
    push(site, INDEX, "latest")
    assert presence("amd") == {}
    assert presence("latest") == {
        "is_sparse": True,
        "child_manifest_count": 2,
        "present_child_count": 1,
        "child_manifests_presence": {str(Digest.of(AMD64)): True, str(Digest.of(ARM64)): False},
    }
    push(site, ARM64)
    both = {"is_sparse": False, "child_manifest_count": 2, "present_child_count": 2}
    assert presence("latest") == both
    site.manifests().delete(site.repository, Digest.of(AMD64))
    assert presence("latest")["present_child_count"] == 1
    push(site, index(), "empty")
    counts = {"is_sparse": False, "child_manifest_count": 0, "present_child_count": 0}
    assert presence("empty") == counts


@pytest.mark.parametrize(("fixture", "supported"), [("site", True), ("strict", False)])
def test_clients_can_query_whether_an_index_may_list_absent_images(
    request: pytest.FixtureRequest, fixture: str, *, supported: bool
) -> None:
    site: MemorySite = request.getfixturevalue(fixture)
    client = testing.TestClient(create_app(site.graph.dependencies()))
    answer = client.simulate_get("/v2/", protocol="http")
    assert answer.status_code == 401
    assert answer.headers.get("X-Sparse-Manifest-Support") == ("true" if supported else None)
    assert client.simulate_get("/api/v1/registry/capabilities").json["sparse_manifests"] == {
        "supported": supported,
        "required_architectures": [],
        "optional_architectures_allowed": supported,
    }

"""Untagged manifests are deleted as in Quay, unless something still refers to them."""

from __future__ import annotations

import json
import time

import pytest
from atoll.names import Digest, RepositoryName
from atoll.registry import untagged_manifests as untagged
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.tags import Tags
from atoll.registry.untagged_manifests import UntaggedManifests

from .site import MANIFEST_TYPE, Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push,delete"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DATA = b'{"some": "configuration"}'


def collector(site: Site, batch: int = 100) -> UntaggedManifests:
    cache = ManifestCache(site.services.redis)
    return UntaggedManifests(site.services.database, site.services.bundle, cache, batch=batch)


def collect(site: Site) -> None:
    collect = collector(site)
    while collect.step():
        continue


def put(client: Client, document: dict[str, object], reference: str | None = None) -> str:
    """Push a manifest by its digest or a tag, and return its digest."""
    content = json.dumps({"schemaVersion": 2, **document}).encode()
    digest = str(Digest.of(content))
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/{reference or digest}",
        SCOPE,
        headers={"Content-Type": str(document["mediaType"])},
        data=content,
    )
    assert answer.status_code == 201, answer.text
    return digest


def image(client: Client, **more: object) -> dict[str, object]:
    digest = client.push_blob(REPOSITORY, DATA)
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest,
        "size": len(DATA),
    }
    return {"mediaType": MANIFEST_TYPE, "config": config, "layers": [], **more}


def descriptor(digest: str) -> dict[str, object]:
    return {"mediaType": MANIFEST_TYPE, "digest": digest, "size": 1}


def index(*children: str) -> dict[str, object]:
    return {"mediaType": INDEX_TYPE, "manifests": [descriptor(child) for child in children]}


def expire_pushes(site: Site) -> None:
    """Expire the time for which a push is kept without a tag."""
    site.services.database.run("UPDATE manifest SET pushed_at = pushed_at - interval '2 hours'")


def pull(client: Client, digest: str) -> int:
    return client.request("GET", f"/v2/{REPOSITORY}/manifests/{digest}", SCOPE).status_code


def test_an_untagged_manifest_is_deleted_when_its_time_ends(client: Client) -> None:
    digest = put(client, image(client))
    collect(client.site)
    assert pull(client, digest) == 200
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, digest) == 404


def test_a_push_restarts_the_time(client: Client) -> None:
    digest = put(client, image(client))
    expire_pushes(client.site)
    assert put(client, image(client)) == digest
    collect(client.site)
    assert pull(client, digest) == 200


def test_a_tagged_manifest_is_kept(client: Client) -> None:
    digest = put(client, image(client), "latest")
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, digest) == 200


def test_a_previously_tagged_manifest_is_kept_while_the_tag_can_be_restored(client: Client) -> None:
    digest = put(client, image(client), "latest")
    put(client, image(client, annotations={"version": "2"}), "latest")
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, digest) == 200
    ended = "UPDATE tag SET lifetime_end_ms = lifetime_end_ms - %(ms)s"
    client.site.services.database.run(ended, {"ms": 15 * 86400 * 1000})
    collect(client.site)
    assert pull(client, digest) == 404


def test_a_tag_with_a_pending_expiry_keeps_its_manifest(client: Client) -> None:
    digest = put(client, image(client), "latest")
    tags = Tags(client.site.services.database)
    tags.expire(RepositoryName.parse(REPOSITORY), "latest", int(time.time() * 1000) + 60_000)
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, digest) == 200


def test_manifests_of_an_index_are_kept_and_deleted_after_it(client: Client) -> None:
    child = put(client, image(client))
    parent = put(client, index(child), "latest")
    expire_pushes(client.site)
    collect(client.site)
    assert (pull(client, parent), pull(client, child)) == (200, 200)
    client.site.services.database.run("DELETE FROM tag")
    collect(client.site)
    collect(client.site)
    assert (pull(client, parent), pull(client, child)) == (404, 404)


def test_a_referrer_is_kept_with_its_subject_and_deleted_after_it(client: Client) -> None:
    subject = put(client, image(client), "latest")
    signature = put(client, image(client, subject=descriptor(subject)))
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, signature) == 200
    client.site.services.database.run("DELETE FROM tag")
    collect(client.site)
    collect(client.site)
    assert (pull(client, subject), pull(client, signature)) == (404, 404)


def test_a_deleted_image_that_can_be_restored_keeps_its_signature(client: Client) -> None:
    subject = put(client, image(client), "latest")
    signature = put(client, image(client, subject=descriptor(subject)))
    client.request("DELETE", f"/v2/{REPOSITORY}/manifests/{subject}", SCOPE)
    expire_pushes(client.site)
    collect(client.site)
    assert pull(client, signature) == 200


def test_a_manifest_that_a_transaction_refers_to_is_skipped(client: Client) -> None:
    digest = put(client, image(client))
    expire_pushes(client.site)
    with client.site.services.database.transaction() as cursor:
        # As the foreign key of a tag that is being inserted does.
        cursor.execute("SELECT FROM manifest FOR KEY SHARE")
        collect(client.site)
    assert pull(client, digest) == 200


def test_an_index_that_references_a_just_collected_manifest_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector runs between the look-up of the manifests and the insertion of the index."""
    child = put(client, image(client))
    expire_pushes(client.site)
    database, run = client.site.services.database, client.site.services.database.run

    def run_after_collection(sql: str, parameters: object = None) -> list[object]:
        if "INSERT INTO manifest " in sql:
            collect(client.site)
        return run(sql, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "run", run_after_collection)
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/latest",
        SCOPE,
        headers={"Content-Type": INDEX_TYPE},
        json={"schemaVersion": 2, **index(child)},
    )
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
        404,
        "MANIFEST_BLOB_UNKNOWN",
    )
    monkeypatch.undo()
    assert put(client, image(client)) == child
    put(client, index(child), "latest")


def test_the_next_batch_deletes_what_one_batch_left(client: Client) -> None:
    for version in ("1", "2", "3"):
        put(client, image(client, annotations={"version": version}))
    expire_pushes(client.site)
    collect = collector(client.site, batch=2)
    assert [collect.step(), collect.step()] == [True, False]
    assert client.site.services.database.read("SELECT count(*) FROM manifest") == [[0]]


def test_each_run_checks_the_next_range(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each run of each site would read every manifest."""
    monkeypatch.setattr(untagged, "RANGE", 1)
    for version in ("1", "2"):
        put(client, image(client, annotations={"version": version}))
    expire_pushes(client.site)
    collect = collector(client.site)
    last = client.site.services.database.read("SELECT max(id) FROM manifest")[0][0]
    assert [collect.step() for _ in range(last - 1)] == [False] * (last - 1)
    assert client.site.services.database.read("SELECT count(*) FROM manifest") == [[1]]
    assert not collect.step()
    assert client.site.services.database.read("SELECT count(*) FROM manifest") == [[0]]

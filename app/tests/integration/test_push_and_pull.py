"""Pushes and pulls at one site."""

from __future__ import annotations

import hashlib
import json
import os

from .images import push_image, sha256
from .services import Services
from .site import MANIFEST_TYPE, Client

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push,delete"


def test_a_blob_is_pulled_unchanged(client: Client) -> None:
    data = os.urandom(3_000_000)
    digest = client.push_blob(REPOSITORY, data)
    assert client.pull_blob(REPOSITORY, digest).content == data


def test_a_blob_in_one_patch_is_written_to_the_store_once(
    client: Client, services: Services
) -> None:
    digest = client.push_blob(REPOSITORY, b"x" * 100)
    hexadecimal = digest.partition(":")[2]
    assert services.us.objects() == {f"datastorage/registry/sha256/{hexadecimal[:2]}/{hexadecimal}"}
    assert services.eu.objects() == set()


def test_a_range_of_a_blob_can_be_pulled(client: Client) -> None:
    digest = client.push_blob(REPOSITORY, b"0123456789")
    answer = client.pull_blob(REPOSITORY, digest, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"234")


def test_head_returns_the_size_and_digest_of_a_blob(client: Client) -> None:
    digest = client.push_blob(REPOSITORY, b"0123456789")
    answer = client.request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}", SCOPE)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["Docker-Content-Digest"] == digest


def test_a_blob_in_one_post_is_accepted(client: Client) -> None:
    data = b"monolithic"
    answer = client.request(
        "POST",
        f"/v2/{REPOSITORY}/blobs/uploads/",
        SCOPE,
        params={"digest": sha256(data)},
        data=data,
    )
    assert answer.status_code == 201
    assert client.pull_blob(REPOSITORY, sha256(data)).content == data


def test_a_blob_in_post_and_put_is_accepted(client: Client) -> None:
    data = b"post and put"
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    answer = client.request(
        "PUT", answer.headers["Location"], SCOPE, params={"digest": sha256(data)}, data=data
    )
    assert answer.status_code == 201
    assert client.pull_blob(REPOSITORY, sha256(data)).content == data


def test_an_empty_blob_is_accepted(client: Client) -> None:
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    answer = client.request(
        "PUT", answer.headers["Location"], SCOPE, params={"digest": sha256(b"")}
    )
    assert answer.status_code == 201
    assert client.pull_blob(REPOSITORY, sha256(b"")).content == b""


def test_a_sha512_digest_is_accepted_like_a_sha256_one(client: Client) -> None:
    data = b"sha512"
    digest = f"sha512:{hashlib.sha512(data).hexdigest()}"
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
    answer = client.request("PATCH", answer.headers["Location"], SCOPE, data=data)
    answer = client.request("PUT", answer.headers["Location"], SCOPE, params={"digest": digest})
    assert answer.status_code == 201
    assert client.pull_blob(REPOSITORY, digest).content == data


def test_a_blob_can_be_mounted_from_another_repository(client: Client) -> None:
    digest = client.push_blob(REPOSITORY, b"shared")
    client.push_blob("admin/other", b"so that the repository is there")
    answer = client.request(
        "POST",
        "/v2/admin/other/blobs/uploads/",
        f"repository:admin/other:pull,push {SCOPE}",
        params={"mount": digest, "from": REPOSITORY},
    )
    assert answer.status_code == 201
    assert client.pull_blob("admin/other", digest).content == b"shared"


def test_a_blob_of_another_repository_is_not_readable_without_a_mount(client: Client) -> None:
    digest = client.push_blob(REPOSITORY, b"mine")
    client.push_blob("admin/other", b"something")
    assert client.pull_blob("admin/other", digest).status_code == 404


def test_a_manifest_is_pulled_byte_for_byte_by_tag_and_by_digest(client: Client) -> None:
    digest, manifest = push_image(client)
    for reference in ("v1", digest, digest):
        answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}", SCOPE)
        assert answer.status_code == 200
        assert answer.content == manifest
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Type"] == MANIFEST_TYPE
    answer = client.request("HEAD", f"/v2/{REPOSITORY}/manifests/v1", SCOPE)
    assert answer.headers["Content-Length"] == str(len(manifest))


def test_a_manifest_that_names_a_missing_blob_is_refused(client: Client) -> None:
    client.push_blob(REPOSITORY, b"config")
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": sha256(b"config"), "size": 6},
        "layers": [{"digest": sha256(b"never pushed"), "size": 12}],
    }
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/v1",
        SCOPE,
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    assert sha256(b"never pushed") in answer.json()["errors"][0]["message"]


def test_a_manifest_with_a_wrong_digest_is_refused(client: Client) -> None:
    _, manifest = push_image(client)
    answer = client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/{sha256(b'other')}",
        SCOPE,
        data=manifest,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "DIGEST_INVALID"


def test_a_tag_that_is_pushed_again_refers_to_the_new_manifest(client: Client) -> None:
    push_image(client)
    digest, _ = push_image(client)
    answer = client.request("HEAD", f"/v2/{REPOSITORY}/manifests/v1", SCOPE)
    assert answer.headers["Docker-Content-Digest"] == digest


def test_tags_are_listed_in_order_and_in_pages(client: Client) -> None:
    for tag in ("b", "a", "C", "d"):
        push_image(client, tag)
    path = f"/v2/{REPOSITORY}/tags/list"
    assert client.request("GET", path, SCOPE).json() == {
        "name": REPOSITORY,
        "tags": ["C", "a", "b", "d"],
    }
    answer = client.request("GET", path, SCOPE, params={"n": 2})
    assert answer.json()["tags"] == ["C", "a"]
    answer = client.request("GET", answer.links["next"]["url"], SCOPE)
    assert answer.json()["tags"] == ["b", "d"]
    assert "next" not in answer.links


def test_deleting_a_tag_keeps_its_manifest(client: Client) -> None:
    digest, _ = push_image(client)
    path = f"/v2/{REPOSITORY}/manifests"
    assert client.request("DELETE", f"{path}/v1", SCOPE).status_code == 202
    assert client.request("GET", f"{path}/v1", SCOPE).status_code == 404
    assert client.request("GET", f"{path}/{digest}", SCOPE).status_code == 200


def test_a_deleted_manifest_and_its_tags_disappear_at_once_despite_the_cache(
    client: Client,
) -> None:
    digest, _ = push_image(client)
    path = f"/v2/{REPOSITORY}/manifests"
    assert client.request("GET", f"{path}/{digest}", SCOPE).status_code == 200
    assert client.request("DELETE", f"{path}/{digest}", SCOPE).status_code == 202
    assert client.request("GET", f"{path}/{digest}", SCOPE).status_code == 404
    assert client.request("GET", f"{path}/v1", SCOPE).status_code == 404


def test_pushes_and_pulls_work_without_redis(client: Client, services: Services) -> None:
    services.redis.pause()
    try:
        digest, manifest = push_image(client)
        answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/{digest}", SCOPE)
        assert answer.content == manifest
    finally:
        services.redis.unpause()

"""Referrers, the catalog, mounts, deletion and conditional requests."""

from __future__ import annotations

import json

from .clients import create_user
from .images import push_image, sha256
from .site import INDEX_TYPE, MANIFEST_TYPE, Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push,delete"
MANIFESTS = f"/v2/{REPOSITORY}/manifests"
REFERRERS = f"/v2/{REPOSITORY}/referrers"
UNKNOWN = f"sha256:{'0' * 64}"


def put_manifest(client: Client, reference: str, document: dict[str, object], **query: object):
    media_type = str(document.get("mediaType", MANIFEST_TYPE))
    return client.request(
        "PUT",
        f"{MANIFESTS}/{reference}",
        SCOPE,
        data=json.dumps(document),
        headers={"Content-Type": media_type},
        params=query,
    )


def push_referrer(client: Client, subject: str, kind: str | None, note: str = "") -> str:
    config = client.push_blob(REPOSITORY, b"{}")
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.config", "digest": config, "size": 2},
        "layers": [],
        "subject": {"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1},
        "annotations": {"note": note},
    }
    if kind:
        document["artifactType"] = kind
    digest = sha256(json.dumps(document).encode())
    answer = put_manifest(client, digest, document)
    assert answer.status_code == 201, answer.text
    assert answer.headers["OCI-Subject"] == subject
    return digest


def test_referrers_of_a_manifest_are_listed(client: Client) -> None:
    subject, _ = push_image(client)
    digest = push_referrer(client, subject, "application/vnd.example.signature", "signed")
    answer = client.request("GET", f"{REFERRERS}/{subject}", SCOPE)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == INDEX_TYPE
    (descriptor,) = answer.json()["manifests"]
    assert descriptor["digest"] == digest
    assert descriptor["mediaType"] == MANIFEST_TYPE
    assert descriptor["artifactType"] == "application/vnd.example.signature"
    assert descriptor["annotations"] == {"note": "signed"}
    assert descriptor["size"] > 0


def test_referrers_can_be_filtered_by_artifact_type(client: Client) -> None:
    subject, _ = push_image(client)
    wanted = push_referrer(client, subject, "application/vnd.example.wanted")
    push_referrer(client, subject, "application/vnd.example.other")
    answer = client.request(
        "GET",
        f"{REFERRERS}/{subject}",
        SCOPE,
        params={"artifactType": "application/vnd.example.wanted"},
    )
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [wanted]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"


def test_artifact_type_of_a_referrer_defaults_to_its_config_media_type(client: Client) -> None:
    subject, _ = push_image(client)
    push_referrer(client, subject, None)
    (descriptor,) = client.request("GET", f"{REFERRERS}/{subject}", SCOPE).json()["manifests"]
    assert descriptor["artifactType"] == "application/vnd.config"


def test_a_subject_may_be_pushed_after_its_referrers_and_an_unknown_one_has_none(
    client: Client,
) -> None:
    digest = push_referrer(client, UNKNOWN, "application/vnd.example")
    answer = client.request("GET", f"{REFERRERS}/{UNKNOWN}", SCOPE)
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [digest]
    answer = client.request("GET", f"{REFERRERS}/{sha256(b'nobody')}", SCOPE)
    assert (answer.status_code, answer.json()["manifests"]) == (200, [])


def test_a_deleted_referrer_is_not_listed(client: Client) -> None:
    subject, _ = push_image(client)
    digest = push_referrer(client, subject, "application/vnd.example")
    assert client.request("DELETE", f"{MANIFESTS}/{digest}", SCOPE).status_code == 202
    assert client.request("GET", f"{REFERRERS}/{subject}", SCOPE).json()["manifests"] == []


def test_a_nested_index_is_stored(client: Client) -> None:
    image, content = push_image(client)
    inner = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [{"mediaType": MANIFEST_TYPE, "digest": image, "size": len(content)}],
    }
    digest = put_manifest(client, "inner", inner).headers["Docker-Content-Digest"]
    outer = {**inner, "manifests": [{"mediaType": INDEX_TYPE, "digest": digest, "size": 1}]}
    assert put_manifest(client, "outer", outer).status_code == 201
    missing = {**inner, "manifests": [{"mediaType": INDEX_TYPE, "digest": UNKNOWN, "size": 1}]}
    assert put_manifest(client, "broken", missing).status_code == 404


def test_one_push_can_set_several_tags(client: Client) -> None:
    _, content = push_image(client)
    answer = put_manifest(client, sha256(content), json.loads(content), tag=["one", "two"])
    # The bytes differ, as the JSON is encoded again; this shows that the digest is verified.
    if answer.status_code == 400:
        document = json.dumps(json.loads(content)).encode()
        answer = put_manifest(client, sha256(document), json.loads(content), tag=["one", "two"])
    assert answer.headers["OCI-Tag"] == "one, two"
    tags = client.request("GET", f"/v2/{REPOSITORY}/tags/list", SCOPE).json()["tags"]
    assert {"one", "two"} <= set(tags)


def test_an_unchanged_manifest_is_answered_with_304(client: Client) -> None:
    push_image(client)
    answer = client.request("GET", f"{MANIFESTS}/v1", SCOPE)
    etag = answer.headers["ETag"]
    again = client.request("GET", f"{MANIFESTS}/v1", SCOPE, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    push_image(client)
    changed = client.request("GET", f"{MANIFESTS}/v1", SCOPE, headers={"If-None-Match": etag})
    assert changed.status_code == 200


def test_a_referenced_blob_is_not_deleted_and_an_unreferenced_one_is(client: Client) -> None:
    digest, content = push_image(client)
    layer = json.loads(content)["layers"][0]["digest"]
    path = f"/v2/{REPOSITORY}/blobs/{layer}"
    assert client.request("DELETE", path, SCOPE).status_code == 405
    assert client.request("HEAD", path, SCOPE).status_code == 200
    assert client.request("DELETE", f"{MANIFESTS}/{digest}", SCOPE).status_code == 202
    assert client.request("DELETE", path, SCOPE).status_code == 202
    assert client.request("HEAD", path, SCOPE).status_code == 404
    assert client.request("DELETE", path, SCOPE).status_code == 404


def test_a_mount_without_a_source_uses_repositories_that_the_user_can_pull(us: Site) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, b"somewhere")
    client.push_blob("admin/other", b"so that the repository is there")
    answer = client.request(
        "POST",
        "/v2/admin/other/blobs/uploads/",
        "repository:admin/other:pull,push",
        params={"mount": digest},
    )
    assert answer.status_code == 201
    alice = create_user(us, "alice")
    alice.push_blob("alice/app", b"so that the repository is there")
    answer = alice.request(
        "POST",
        "/v2/alice/app/blobs/uploads/",
        "repository:alice/app:pull,push",
        params={"mount": digest},
    )
    # She may not pull the blob: an upload begins instead, and does not reveal that it exists.
    assert answer.status_code == 202


def test_the_catalog_lists_repositories_with_pull_permission_in_pages(us: Site) -> None:
    admin, alice = Client(us), create_user(us, "alice")
    admin.push_blob("admin/b", b"x")
    admin.push_blob("admin/a", b"x")
    alice.push_blob("alice/app", b"x")
    assert us.command("repository", "create", "admin/c", "--visibility", "public").returncode == 0
    catalog = "registry:catalog:*"
    names = alice.request("GET", "/v2/_catalog", catalog).json()["repositories"]
    assert names == ["admin/c", "alice/app"]
    names = admin.request("GET", "/v2/_catalog", catalog).json()["repositories"]
    assert names == ["admin/a", "admin/b", "admin/c", "alice/app"]
    answer = admin.request("GET", "/v2/_catalog", catalog, params={"n": 3})
    assert answer.json()["repositories"] == ["admin/a", "admin/b", "admin/c"]
    answer = admin.request("GET", answer.links["next"]["url"], catalog)
    assert answer.json()["repositories"] == ["alice/app"]
    assert "next" not in answer.links

"""Chunked, interrupted, cancelled and wrong uploads."""

from __future__ import annotations

import os

import pytest
import requests

from .images import sha256
from .services import Services
from .site import Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"


def error_code(answer: requests.Response) -> str:
    return answer.json()["errors"][0]["code"]


def patch(
    client: Client, location: str, data: bytes, start: int | None = None
) -> requests.Response:
    headers = {}
    if start is not None:
        headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
    return client.request("PATCH", location, SCOPE, data=data, headers=headers)


def put(client: Client, location: str, digest: str, data: bytes = b"") -> requests.Response:
    return client.request("PUT", location, SCOPE, params={"digest": digest}, data=data)


def leftovers(site: Site, services: Services) -> tuple[set[str], int, int]:
    """Return objects in both stores, unfinished parts there, and sessions in the database."""
    keys = services.us.objects() | services.eu.objects()
    parts = services.us.open_uploads() + services.eu.open_uploads()
    (sessions,) = site.services.database.read("SELECT count(*) FROM blobupload")
    return keys, parts, sessions[0]


@pytest.mark.parametrize("last_with_put", [False, True])
def test_chunks_are_assembled_to_the_blob(
    client: Client, services: Services, *, last_with_put: bool
) -> None:
    chunks = [os.urandom(1000), os.urandom(2000), os.urandom(3000)]
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    offset = 0
    for chunk in chunks[:-1] if last_with_put else chunks:
        answer = patch(client, location, chunk, offset)
        offset += len(chunk)
        assert answer.status_code == 202
        assert answer.headers["Range"] == f"0-{offset - 1}"
        location = answer.headers["Location"]
    data = b"".join(chunks)
    assert put(client, location, sha256(data), chunks[-1] if last_with_put else b"").ok
    assert client.pull_blob(REPOSITORY, sha256(data)).content == data
    # Nothing is left except the blob itself.
    keys, parts, sessions = leftovers(client.site, services)
    assert (len(keys), parts, sessions) == (1, 0, 0)


def test_an_upload_can_continue_at_another_site_after_every_chunk(us: Site, eu: Site) -> None:
    sites = [Client(us), Client(eu)]
    chunks = [os.urandom(1000) for _ in range(4)]
    location = sites[0].request("POST", UPLOADS, SCOPE).headers["Location"]
    for number, chunk in enumerate(chunks):
        path = location.partition("/v2/")[2]
        answer = patch(sites[(number + 1) % 2], f"/v2/{path}", chunk)
        assert answer.status_code == 202, answer.text
        location = answer.headers["Location"]
    data = b"".join(chunks)
    path = location.partition("/v2/")[2]
    assert put(sites[1], f"/v2/{path}", sha256(data)).status_code == 201
    assert sites[0].pull_blob(REPOSITORY, sha256(data)).content == data


def test_a_chunk_out_of_order_is_refused_with_the_received_range(client: Client) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    location = patch(client, location, b"0123456789", 0).headers["Location"]
    answer = patch(client, location, b"later", 20)
    assert (answer.status_code, answer.headers["Range"]) == (416, "0-9")
    answer = patch(client, location, b"more", 10)
    assert answer.status_code == 202


def test_a_chunk_with_an_old_location_is_refused_and_leaves_nothing(
    client: Client, services: Services
) -> None:
    old = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    new = patch(client, old, b"first").headers["Location"]
    answer = patch(client, old, b"the same place again")
    assert (answer.status_code, answer.headers["Range"]) == (416, "0-4")
    assert client.request("DELETE", new, SCOPE).status_code == 204
    assert leftovers(client.site, services) == (set(), 0, 0)


def test_a_repeated_first_chunk_removes_nothing_from_the_upload(client: Client) -> None:
    old = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    assert patch(client, old, b"first ").status_code == 202
    answer = patch(client, old, b"first ")
    assert (answer.status_code, answer.headers["Range"]) == (416, "0-5")
    location = patch(client, answer.headers["Location"], b"second").headers["Location"]
    assert put(client, location, sha256(b"first second")).status_code == 201
    assert client.pull_blob(REPOSITORY, sha256(b"first second")).content == b"first second"


def test_an_upload_can_resume_from_its_queried_state(client: Client) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    patch(client, location, b"0123456789")
    answer = client.request("GET", location.partition("?")[0], SCOPE)
    assert (answer.status_code, answer.headers["Range"]) == (204, "0-9")
    location = patch(client, answer.headers["Location"], b"more").headers["Location"]
    assert put(client, location, sha256(b"0123456789more")).status_code == 201


def test_a_client_that_drops_the_query_of_the_location_is_served(client: Client) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"].partition("?")[0]
    patch(client, location, b"without ")
    patch(client, location, b"state")
    assert put(client, location, sha256(b"without state")).status_code == 201


@pytest.mark.parametrize(
    "chunks", [[b"whole"], [b"in ", b"parts"], []], ids=["one-PATCH", "chunks", "PUT-only"]
)
def test_a_wrong_digest_is_refused_and_leaves_nothing(
    client: Client, services: Services, chunks: list[bytes]
) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    for chunk in chunks:
        location = patch(client, location, chunk).headers["Location"]
    answer = put(client, location, sha256(b"something else"), b"" if chunks else b"whole")
    assert (answer.status_code, error_code(answer)) == (400, "DIGEST_INVALID")
    assert leftovers(client.site, services) == (set(), 0, 0)
    answer = client.request("GET", location, SCOPE)
    assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_wrong_digest_does_not_delete_the_same_bytes_of_another_upload(
    client: Client, services: Services
) -> None:
    digest = client.push_blob(REPOSITORY, b"precious")
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    location = patch(client, location, b"precious").headers["Location"]
    assert put(client, location, sha256(b"other")).status_code == 400
    assert client.pull_blob(REPOSITORY, digest).content == b"precious"
    assert len(services.us.objects()) == 1


def test_bytes_deleted_between_chunk_and_commit_are_written_again(
    client: Client,
) -> None:
    """Two uploads have the same bytes; one is cancelled after the other has begun."""
    data = b"the same bytes"
    client.push_blob(REPOSITORY, b"so that the repository is there")
    doomed = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    kept = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    doomed = patch(client, doomed, data).headers["Location"]
    assert client.request("DELETE", doomed, SCOPE).status_code == 204
    kept = patch(client, kept, data).headers["Location"]
    assert put(client, kept, sha256(data)).status_code == 201
    assert client.pull_blob(REPOSITORY, sha256(data)).content == data


def test_a_cancelled_upload_is_deleted(client: Client, services: Services) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    location = patch(client, location, b"one").headers["Location"]
    location = patch(client, location, b"two").headers["Location"]
    assert client.request("DELETE", location, SCOPE).status_code == 204
    assert client.request("DELETE", location, SCOPE).status_code == 404
    assert patch(client, location, b"three").status_code == 404
    assert leftovers(client.site, services) == (set(), 0, 0)


def test_an_abandoned_upload_is_deleted(client: Client, services: Services) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    patch(client, location, b"left alone")
    uploads = client.site.services.uploads
    assert uploads.delete_leftovers() == 0
    client.site.services.database.run(
        "UPDATE blobupload SET changed_at = now() - interval '49 hours'"
    )
    assert uploads.delete_leftovers() == 1
    assert leftovers(client.site, services) == (set(), 0, 0)


def test_an_upload_of_one_repository_is_unknown_in_another(client: Client) -> None:
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    client.push_blob("admin/other", b"so that the repository is there")
    stranger = location.replace("/v2/admin/app/", "/v2/admin/other/")
    scope = "repository:admin/other:pull,push"
    answer = client.request("PATCH", stranger, scope, data=b"x")
    assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("uuid", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_an_upload_that_never_existed_is_unknown(client: Client, uuid: str) -> None:
    client.push_blob(REPOSITORY, b"so that the repository is there")
    answer = patch(client, UPLOADS + uuid, b"x")
    assert (answer.status_code, error_code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_push_goes_to_the_other_store_while_the_nearest_is_dead(
    client: Client, services: Services
) -> None:
    client.push_blob(REPOSITORY, b"before")
    services.us.container.pause()
    try:
        digest = client.push_blob(REPOSITORY, b"during")
        assert client.pull_blob(REPOSITORY, digest).content == b"during"
        rows = client.site.services.database.read(
            "SELECT l.name FROM replicationtask t JOIN imagestoragelocation l"
            " ON l.id = t.location_id JOIN imagestorage s ON s.id = t.storage_id"
            " WHERE s.content_checksum = %s",
            [digest],
        )
        assert [row[0] for row in rows] == ["usstorage"]
    finally:
        services.us.container.unpause()


def test_chunks_are_assembled_at_the_other_store_when_the_nearest_is_full(
    client: Client, services: Services
) -> None:
    chunks = [os.urandom(1000), os.urandom(2000)]
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    for chunk in chunks:
        location = patch(client, location, chunk).headers["Location"]
    digest = sha256(b"".join(chunks))
    with services.us.fill_up():
        assert put(client, location, digest).status_code == 201
    assert client.pull_blob(REPOSITORY, digest).content == b"".join(chunks)

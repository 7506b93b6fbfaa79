"""Distribution-spec v1.1.1, "Pushing blobs" and "Mounting a blob": one test for each sentence."""

from __future__ import annotations

import os
import uuid

import pytest

from .protocol import Registry, codes, sha256, sha512

ALGORITHMS = pytest.mark.parametrize("hashed", [sha256, sha512])
WRONG = sha256(b"something else")


def is_pullable(registry: Registry, location: str, data: bytes) -> bool:
    """Return whether a location is a pullable blob URL."""
    answer = registry.request("GET", location)
    return answer.status_code == 200 and answer.content == data


def test_post_begins_a_session_with_202_and_a_location(registry: Registry) -> None:
    """POST then PUT: "MUST have a code of 202 Accepted, and MUST include … Location"."""
    answer = registry.request("POST", registry.path("blobs/uploads/"))
    assert answer.status_code == 202
    assert answer.headers["Range"] == "0-0"
    assert int(answer.headers["Content-Length"]) == 0


def test_the_location_contains_a_uuid(registry: Registry) -> None:
    """POST then PUT: "The <location> MUST contain a UUID representing a unique session ID"."""
    first, second = (registry.begin_upload().partition("?")[0].rpartition("/")[2] for _ in range(2))
    assert uuid.UUID(first) != uuid.UUID(second)


def test_the_location_keeps_the_address_that_the_client_used(registry: Registry) -> None:
    """POST then PUT: the location may be absolute; then the client must be able to reach it."""
    assert registry.begin_upload().startswith(registry.url + "/v2/")


def test_the_location_keeps_the_host_that_the_client_used(registry: Registry) -> None:
    """POST then PUT: the host is the client's, and cannot be changed by X-Forwarded-Host."""
    # The client has a token already, so it does not request one at the other address.
    registry.begin_upload()
    path = registry.path("blobs/uploads/")
    answer = registry.request("POST", path, headers={"X-Forwarded-Host": "front.example:5443"})
    assert answer.headers["Location"].startswith(f"{registry.url}/v2/")
    answer = registry.request("POST", path, headers={"Host": "registry.example:5000"})
    assert answer.headers["Location"].partition("://")[2].startswith("registry.example:5000/v2/")


def test_the_location_keeps_the_name_that_the_client_used(registry: Registry) -> None:
    """Mounting a blob: a name with a single component is valid, and unchanged in the location."""
    name = f"single-{uuid.uuid4().hex}"
    assert f"/v2/{name}/blobs/uploads/" in registry.begin_upload(name)
    data = b"of one component"
    answer = registry.put(registry.begin_upload(name), sha256(data), data)
    assert answer.headers["Location"].endswith(f"/v2/{name}/blobs/{sha256(data)}")
    assert is_pullable(registry, answer.headers["Location"], data)


@ALGORITHMS
@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_put_completes_with_201_and_a_pullable_location(
    registry: Registry, hashed, size: int
) -> None:
    """POST then PUT: "MUST have code 201 Created and MUST have … Location"."""
    data = os.urandom(size)
    answer = registry.put(registry.begin_upload(), hashed(data), data)
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == hashed(data)
    assert is_pullable(registry, answer.headers["Location"], data)


@ALGORITHMS
def test_a_single_post_is_201_with_a_pullable_location(registry: Registry, hashed) -> None:
    """Single POST: "MUST return a 201 Created and MUST include … Location"."""
    data = os.urandom(500)
    answer = registry.request(
        "POST", registry.path("blobs/uploads/"), params={"digest": hashed(data)}, data=data
    )
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == hashed(data)
    assert is_pullable(registry, answer.headers["Location"], data)


@ALGORITHMS
@pytest.mark.parametrize("known_length", [True, False])
def test_a_blob_may_be_streamed_in_one_patch(
    registry: Registry, hashed, *, known_length: bool
) -> None:
    """Pushing a blob in chunks: docker and podman send one PATCH with a known or unknown length."""
    data = os.urandom(3000)
    body = data if known_length else (piece for piece in (data[:1000], data[1000:]))
    # The session has its token since the upload began, as such a body cannot be sent twice.
    answer = registry.request("PATCH", registry.begin_upload(), data=body)
    assert (answer.status_code, answer.headers["Range"]) == (202, "0-2999")
    answer = registry.put(answer.headers["Location"], hashed(data))
    assert answer.status_code == 201
    assert is_pullable(registry, answer.headers["Location"], data)


@ALGORITHMS
@pytest.mark.parametrize("with_put", [False, True])
def test_chunks_are_assembled_to_the_blob(registry: Registry, hashed, *, with_put: bool) -> None:
    """Pushing a blob in chunks: "The final chunk MAY be uploaded using PATCH or … PUT"."""
    data = os.urandom(3 * 1024 - 5)
    chunks = [data[:1024], data[1024:2048], data[2048:]]
    location, start = registry.begin_upload(), 0
    for chunk in chunks[:2] if with_put else chunks:
        answer = registry.patch(location, chunk, start)
        start += len(chunk)
        assert answer.status_code == 202
        assert answer.headers["Range"] == f"0-{start - 1}"
        location = answer.headers["Location"]
    last = registry.put(location, hashed(data), *([chunks[2], start] if with_put else []))
    assert last.status_code == 201
    assert is_pullable(registry, last.headers["Location"], data)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("sent", [0, 1000])
def test_a_chunk_out_of_order_is_416_and_the_upload_can_continue(
    registry: Registry, method: str, sent: int
) -> None:
    """Pushing a blob in chunks: "If … out of order, the registry MUST respond with a 416"."""
    data = os.urandom(2000)
    location = registry.begin_upload()
    if sent:
        location = registry.patch(location, data[:sent], 0).headers["Location"]
    wrong = {"Content-Range": f"{sent + 500}-{sent + 599}"}
    answer = registry.request(
        method, location, params={"digest": sha256(data)}, data=data[:100], headers=wrong
    )
    assert (answer.status_code, codes(answer)) == (416, ["BLOB_UPLOAD_INVALID"])
    assert answer.headers["Range"] == f"0-{max(sent - 1, 0)}"
    answer = registry.patch(answer.headers["Location"], data[sent:], sent)
    assert answer.status_code == 202
    assert registry.put(answer.headers["Location"], sha256(data)).status_code == 201


@pytest.mark.parametrize("before", [0, 1])
def test_a_repeated_chunk_is_416_and_has_no_effect(registry: Registry, before: int) -> None:
    """Pushing a blob in chunks: a repeated chunk is out of order too."""
    chunks = [os.urandom(20) for _ in range(3)]
    data, location = b"".join(chunks), registry.begin_upload()
    for number in range(before):
        location = registry.patch(location, chunks[number]).headers["Location"]
    assert registry.patch(location, chunks[before]).status_code == 202
    again = registry.patch(location, chunks[before])
    assert (again.status_code, again.headers["Range"]) == (416, f"0-{20 * (before + 1) - 1}")
    location = again.headers["Location"]
    for chunk in chunks[before + 1 :]:
        location = registry.patch(location, chunk).headers["Location"]
    answer = registry.put(location, sha256(data))
    assert answer.status_code == 201
    assert is_pullable(registry, answer.headers["Location"], data)


def test_get_returns_the_progress_of_an_upload_also_at_an_old_location(registry: Registry) -> None:
    """Pushing a blob in chunks: "MUST be a 204 No Content … Location, Range"."""
    old = registry.begin_upload()
    registry.patch(old, b"0123456789", 0)
    answer = registry.request("GET", old)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Range"] == "0-9"
    answer = registry.patch(answer.headers["Location"], b"more", 10)
    assert (answer.status_code, answer.headers["Range"]) == (202, "0-13")


def test_a_chunk_whose_length_differs_from_its_range_is_refused(registry: Registry) -> None:
    """Error codes: SIZE_INVALID."""
    answer = registry.request(
        "PATCH", registry.begin_upload(), data=b"0123456789", headers={"Content-Range": "0-3"}
    )
    assert (answer.status_code, codes(answer)) == (400, ["SIZE_INVALID"])


@pytest.mark.parametrize("chunks", [[], [b"whole"], [b"in ", b"parts"]])
def test_a_wrong_digest_is_400(registry: Registry, chunks: list[bytes]) -> None:
    """Error codes: DIGEST_INVALID. "the <digest> MUST match the blob's digest"."""
    location = registry.begin_upload()
    for chunk in chunks:
        location = registry.patch(location, chunk).headers["Location"]
    answer = registry.put(location, WRONG, b"" if chunks else b"whole")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    assert registry.blob(WRONG).status_code == 404


def test_a_single_post_with_a_wrong_digest_is_400(registry: Registry) -> None:
    """Single POST: "the <digest> MUST match the blob's digest"."""
    answer = registry.request(
        "POST", registry.path("blobs/uploads/"), params={"digest": WRONG}, data=b"whole"
    )
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("digest", ["", "sha256:short", "md5:" + "0" * 32])
def test_an_upload_without_a_valid_digest_is_400_and_can_be_completed(
    registry: Registry, digest: str
) -> None:
    """Pushing a blob in chunks: "The closing PUT request MUST include the <digest>"."""
    location = registry.begin_upload()
    answer = registry.put(location, digest, b"whole")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    assert registry.put(location, sha256(b"whole"), b"whole").status_code == 201


def test_a_cancelled_upload_is_204_and_then_unknown(registry: Registry) -> None:
    """Cancel a blob upload (end-14): 204; then the session is unknown."""
    location = registry.patch(registry.begin_upload(), b"unwanted").headers["Location"]
    answer = registry.request("DELETE", location)
    assert (answer.status_code, answer.content) == (204, b"")
    for again in (
        registry.request("GET", location),
        registry.patch(location, b"more"),
        registry.put(location, sha256(b"unwanted")),
        registry.request("DELETE", location),
    ):
        assert (again.status_code, codes(again)) == (404, ["BLOB_UPLOAD_UNKNOWN"])


@pytest.mark.parametrize("session", ["nonsense", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_upload_is_404(registry: Registry, session: str) -> None:
    """Endpoints: end-5 and end-6 fail with 404; BLOB_UPLOAD_UNKNOWN."""
    registry.push_blob(b"so that the repository is there")
    answer = registry.patch(registry.path(f"blobs/uploads/{session}"), b"x")
    assert (answer.status_code, codes(answer)) == (404, ["BLOB_UPLOAD_UNKNOWN"])


@ALGORITHMS
@pytest.mark.parametrize("with_source", [True, False])
def test_a_mount_is_201_with_a_pullable_location(
    registry: Registry, hashed, *, with_source
) -> None:
    """Mounting a blob: "MUST be 201 Created, and MUST contain … Location"; from is optional."""
    data = os.urandom(100)
    digest = registry.push_blob(data, hashed(data))
    target = f"{registry.name}-target"
    registry.push_blob(b"so that the repository is there", name=target)
    answer = registry.mount(digest, target, registry.name if with_source else None)
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Location"].endswith(f"/v2/{target}/blobs/{digest}")
    assert is_pullable(registry, answer.headers["Location"], data)


def test_a_mount_creates_the_repository(registry: Registry) -> None:
    """Mounting a blob: the first layer of a new repository can be mounted too."""
    digest = registry.push_blob(b"shared")
    answer = registry.mount(digest, f"{registry.name}-new", registry.name)
    assert answer.status_code == 201
    assert is_pullable(registry, answer.headers["Location"], b"shared")


@pytest.mark.parametrize("source", [None, "admin/no-such-repository", "NOT A NAME"])
def test_a_mount_of_an_unavailable_blob_is_202_and_it_can_be_uploaded(
    registry: Registry, source: str | None
) -> None:
    """Mounting a blob: "SHOULD return a 202 … the client MAY proceed with the upload"."""
    data = os.urandom(100)
    answer = registry.mount(sha256(data), f"{registry.name}-target", source)
    assert answer.status_code == 202
    assert registry.put(answer.headers["Location"], sha256(data), data).status_code == 201

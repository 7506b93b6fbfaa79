"""Distribution-spec v1.1.1, "Pull": one test for each sentence."""

from __future__ import annotations

import os

import pytest

from .protocol import IMAGE_TYPE, INDEX_TYPE, Registry, codes, sha256, sha512

UNKNOWN = sha256(b"nobody ever pushed this")


def test_get_of_a_manifest_is_200_with_the_manifest(registry: Registry) -> None:
    """Pulling manifests: "MUST provide the expected manifest, with … 200 OK"."""
    image = registry.push_image("v1")
    for reference in ("v1", image.digest):
        answer = registry.manifest(reference)
        assert (answer.status_code, answer.content) == (200, image.content)


def test_the_content_type_is_that_of_the_push(registry: Registry) -> None:
    """Pulling manifests: "SHOULD match what the client pushed"; no parameters."""
    image = registry.push_image("v1")
    registry.push_index([image], "index")
    assert registry.manifest("v1").headers["Content-Type"] == IMAGE_TYPE
    assert registry.manifest("index").headers["Content-Type"] == INDEX_TYPE


@pytest.mark.parametrize("accept", ["*/*", IMAGE_TYPE, f"{INDEX_TYPE}, {IMAGE_TYPE}", "text/plain"])
def test_a_manifest_is_returned_for_any_accept_header(registry: Registry, accept: str) -> None:
    """Pulling manifests: clients SHOULD send Accept; docker and containerd send long ones."""
    image = registry.push_image("v1")
    answer = registry.manifest("v1", headers={"Accept": accept})
    assert (answer.status_code, answer.content) == (200, image.content)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_has_digest_and_length_headers(registry: Registry, method: str) -> None:
    """Pulling manifests, Checking if content exists: Docker-Content-Digest, Content-Length."""
    image = registry.push_image("v1")
    for reference in ("v1", image.digest):
        answer = registry.manifest(reference, method)
        assert answer.status_code == 200
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert answer.headers["Content-Length"] == str(len(image.content))
        assert answer.headers["Content-Type"] == IMAGE_TYPE
        assert answer.content == (image.content if method == "GET" else b"")


@pytest.mark.parametrize("reference", ["missing", UNKNOWN, ".INVALID_MANIFEST_NAME", "a" * 129])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_manifest_is_404(registry: Registry, method: str, reference: str) -> None:
    """Pulling manifests: "If the manifest is not found … MUST be 404 Not Found"."""
    registry.push_image("v1")
    answer = registry.manifest(reference, method)
    assert answer.status_code == 404
    if method == "GET":
        assert codes(answer) == ["MANIFEST_UNKNOWN"]


def test_an_unknown_repository_is_404(registry: Registry) -> None:
    """Pushing manifests: "An attempt to pull a nonexistent repository MUST return … 404"."""
    assert registry.manifest("v1").status_code == 404
    assert registry.manifest(UNKNOWN).status_code == 404
    assert registry.blob(UNKNOWN).status_code == 404
    assert codes(registry.tags()) == ["NAME_UNKNOWN"]


@pytest.mark.parametrize(
    "digest", ["sha256:totallywrong", "sha256:", "md5:" + "0" * 32, "sha256:" + "A" * 64]
)
def test_an_invalid_digest_is_400(registry: Registry, digest: str) -> None:
    """Error codes: DIGEST_INVALID in the specified form, also for a GET with a body."""
    registry.push_image("v1")
    answer = registry.manifest(digest, data=b"blablabla")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    answer = registry.blob(digest)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("size", [0, 1, 5000])
@pytest.mark.parametrize("hashed", [sha256, sha512])
def test_get_of_a_blob_is_200_with_the_blob(registry: Registry, hashed, size: int) -> None:
    """Pulling blobs: "MUST provide the expected blob, with … 200 OK"."""
    data = os.urandom(size)
    digest = registry.push_blob(data, hashed(data))
    answer = registry.blob(digest)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Length"] == str(size)


@pytest.mark.parametrize("size", [0, 5000])
def test_head_of_a_blob_has_digest_and_length_headers(registry: Registry, size: int) -> None:
    """Checking if content exists: 200, Docker-Content-Digest, Content-Length."""
    digest = registry.push_blob(os.urandom(size) if size else b"")
    answer = registry.blob(digest, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Length"] == str(size)


def test_a_redirect_to_a_store_has_the_digest_header(registry: Registry) -> None:
    """Pulling blobs: "SHOULD contain the digest … in Docker-Content-Digest"."""
    digest = registry.push_blob(b"somewhere else")
    answer = registry.blob(digest, allow_redirects=False)
    assert answer.status_code in {200, 307}
    assert answer.headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_blob_is_404(registry: Registry, method: str) -> None:
    """Pulling blobs: "If the blob is not found … MUST be 404 Not Found"."""
    registry.push_blob(b"another")
    answer = registry.blob(UNKNOWN, method)
    assert answer.status_code == 404
    if method == "GET":
        assert codes(answer) == ["BLOB_UNKNOWN"]


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("500-1499", 500, 1499), ("500-", 500, 2047), ("-500", 1548, 2047), ("2000-5000", 2000, 2047)],
)
def test_a_range_of_a_blob_is_206(registry: Registry, wanted: str, first: int, last: int) -> None:
    """Pulling blobs: "SHOULD support the Range request header in accordance with RFC 9110"."""
    data = os.urandom(2048)
    answer = registry.blob(registry.push_blob(data), headers={"Range": f"bytes={wanted}"})
    assert (answer.status_code, answer.content) == (206, data[first : last + 1])
    assert answer.headers["Content-Range"] in {
        f"bytes {first}-{last}/2048",
        f"bytes {first}-{last}/*",
    }
    assert answer.headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("wanted", ["5000-10000", "2048-", "500-0"])
def test_an_unsatisfiable_range_is_416(registry: Registry, wanted: str) -> None:
    """Pulling blobs: RFC 9110, 416; the conformance program counts `500-0` among them."""
    digest = registry.push_blob(os.urandom(2048))
    answer = registry.blob(digest, headers={"Range": f"bytes={wanted}"})
    assert answer.status_code == 416


def test_an_unchanged_manifest_is_304(registry: Registry) -> None:
    """RFC 9110, If-None-Match."""
    registry.push_image("v1")
    etag = registry.manifest("v1").headers["ETag"]
    answer = registry.manifest("v1", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    registry.push_image("v1")
    assert registry.manifest("v1", headers={"If-None-Match": etag}).status_code == 200


def test_an_unchanged_blob_is_304(registry: Registry) -> None:
    """RFC 9110, If-None-Match; a digest always means the same bytes."""
    digest = registry.push_blob(b"unchanging")
    etag = registry.blob(digest, "HEAD").headers["ETag"]
    answer = registry.blob(digest, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    answer = registry.blob(digest, headers={"If-None-Match": '"another"'})
    assert (answer.status_code, answer.content) == (200, b"unchanging")

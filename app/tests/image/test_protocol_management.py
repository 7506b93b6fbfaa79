"""Distribution-spec v1.1.1, "Content Management": one test for each sentence."""

from __future__ import annotations

from .protocol import Registry, codes, sha256

UNKNOWN = sha256(b"nobody ever pushed this")


def test_a_deleted_tag_is_202_then_404_and_keeps_the_manifest(registry: Registry) -> None:
    """Deleting tags: "MUST respond with a 202"; "Once deleted, a GET … will return a 404"."""
    image = registry.push_image("v1")
    registry.put_manifest("v2", image.content)
    assert registry.manifest("v1", "DELETE").status_code == 202
    assert registry.manifest("v1").status_code == 404
    assert registry.manifest("v2").status_code == 200
    assert registry.manifest(image.digest).status_code == 200
    assert registry.tags().json()["tags"] == ["v2"]


def test_a_deleted_manifest_is_202_then_404_with_its_tags(registry: Registry) -> None:
    """Deleting Manifests: 202; "and any tag pointing to that digest will return a 404"."""
    image = registry.push_image("v1")
    registry.put_manifest("v2", image.content)
    assert registry.manifest(image.digest).status_code == 200
    assert registry.manifest(image.digest, "DELETE").status_code == 202
    for reference in (image.digest, "v1", "v2"):
        assert registry.manifest(reference).status_code == 404
        assert registry.manifest(reference, "HEAD").status_code == 404
    assert registry.tags().json()["tags"] == []


def test_deleted_content_can_be_pushed_again(registry: Registry) -> None:
    """Deleting Manifests: a deleted digest can be used again."""
    image = registry.push_image("v1")
    registry.manifest(image.digest, "DELETE")
    assert registry.put_manifest("v1", image.content).status_code == 201
    assert registry.manifest("v1").content == image.content


def test_deleting_what_does_not_exist_is_404(registry: Registry) -> None:
    """Deleting Manifests, Deleting Blobs: 404, also for a repeated request or repository."""
    image = registry.push_image("v1")
    for reference in ("v1", image.digest):
        assert registry.manifest(reference, "DELETE").status_code == 202
    for reference in ("v1", image.digest, "missing", UNKNOWN, ".none"):
        answer = registry.manifest(reference, "DELETE")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
    for name in (registry.name, f"{registry.name}-never"):
        answer = registry.request("DELETE", registry.path(f"manifests/{UNKNOWN}", name))
        assert answer.status_code == 404
        answer = registry.request("DELETE", registry.path(f"blobs/{UNKNOWN}", name))
        assert (answer.status_code, codes(answer)) == (404, ["BLOB_UNKNOWN"])


def test_a_deleted_blob_is_202_then_404(registry: Registry) -> None:
    """Deleting Blobs: "MUST respond with code 202 Accepted"; "not found, a 404 … MUST"."""
    digest = registry.push_blob(b"for a short time")
    assert registry.blob(digest).status_code == 200
    assert registry.blob(digest, "DELETE").status_code == 202
    for method in ("GET", "HEAD", "DELETE"):
        assert registry.blob(digest, method).status_code == 404


def test_a_blob_is_405_until_the_manifest_that_references_it_is_deleted(registry: Registry) -> None:
    """Deleting Blobs: "the registry MUST respond with either a 400 … or a 405"."""
    image = registry.push_image()
    for digest in (image.config, *image.layers):
        answer = registry.blob(digest, "DELETE")
        assert (answer.status_code, codes(answer)) == (405, ["UNSUPPORTED"])
        assert registry.blob(digest).status_code == 200
    registry.manifest(image.digest, "DELETE")
    for digest in (image.config, *image.layers):
        assert registry.blob(digest, "DELETE").status_code == 202
        assert registry.blob(digest).status_code == 404


def test_deleting_a_blob_keeps_it_where_it_was_mounted(registry: Registry) -> None:
    """Deleting Blobs: `<name>` is the repository that it is deleted from."""
    digest = registry.push_blob(b"shared by two")
    target = f"{registry.name}-target"
    assert registry.mount(digest, target, registry.name).status_code == 201
    assert registry.blob(digest, "DELETE").status_code == 202
    answer = registry.request("GET", registry.path(f"blobs/{digest}", target))
    assert (answer.status_code, answer.content) == (200, b"shared by two")

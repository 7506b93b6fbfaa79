"""Distribution-spec v1.1.1, "Pushing Manifests": one test for each sentence."""

from __future__ import annotations

import json
import os

import pytest

from .protocol import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    IMAGE_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    Registry,
    codes,
    encode,
    sha256,
    sha512,
)

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
FOREIGN = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
]
UNKNOWN = sha256(b"nobody ever pushed this")


def image(config: str, layers: list[dict[str, object]], **fields: object) -> bytes:
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config, "size": 2},
            "layers": layers,
            **fields,
        }
    )


@pytest.mark.parametrize("by_tag", [True, False])
def test_a_manifest_is_201_with_a_pullable_location(registry: Registry, *, by_tag: bool) -> None:
    """ "MUST return response code 201 Created, and MUST have … Location"."""
    content = registry.push_image().content
    answer = registry.put_manifest("v1" if by_tag else sha256(content), content)
    assert answer.status_code == 201
    assert answer.headers["Docker-Content-Digest"] == sha256(content)
    pulled = registry.request("GET", answer.headers["Location"])
    assert (pulled.status_code, pulled.content) == (200, content)


def test_a_manifest_is_stored_byte_for_byte(registry: Registry) -> None:
    """ "MUST store the manifest in the exact byte representation provided by the client"."""
    config = registry.push_blob(b"{}")
    content = image(config, [])
    for variant in (content, content + b"\n \n", json.dumps(json.loads(content)).encode()):
        registry.put_manifest("v1", variant)
        assert registry.manifest("v1").content == variant
        assert registry.manifest(sha256(variant)).content == variant


def test_parameters_of_the_content_type_are_ignored(registry: Registry) -> None:
    """ "The registry SHOULD ignore parameters on the Content-Type header"."""
    content = registry.push_image().content
    answer = registry.put_manifest("v1", content, f"{IMAGE_TYPE}; charset=utf-8")
    assert answer.status_code == 201
    assert registry.manifest("v1").headers["Content-Type"] == IMAGE_TYPE


def test_a_content_type_that_differs_from_the_media_type_is_refused(registry: Registry) -> None:
    """ "clients MUST set the Content-Type header to the value specified by … mediaType"."""
    content = registry.push_image().content
    answer = registry.put_manifest("v1", content, INDEX_TYPE)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


def test_a_manifest_without_a_media_type_is_accepted(registry: Registry) -> None:
    """ "All manifests SHOULD include a mediaType field": it is optional."""
    config = registry.push_blob(b"{}")
    content = encode({"schemaVersion": 2, "config": {"digest": config, "size": 2}, "layers": []})
    assert registry.put_manifest("v1", content).status_code == 201
    assert registry.manifest("v1").headers["Content-Type"] == IMAGE_TYPE


def test_the_list_of_layers_may_be_empty(registry: Registry) -> None:
    """ "However, the list of blobs MAY be empty", and so may the list of an index."""
    config = registry.push_blob(b"{}")
    assert registry.put_manifest("v1", image(config, [])).status_code == 201
    assert registry.manifest(registry.push_index([]).digest).json()["manifests"] == []


def test_a_missing_blob_is_manifest_blob_unknown(registry: Registry) -> None:
    """Push: "it MUST result in one or more MANIFEST_BLOB_UNKNOWN errors", one for each."""
    config = registry.push_blob(b"{}")
    missing = [sha256(b"one"), sha256(b"two")]
    layers = [{"mediaType": LAYER_TYPE, "digest": digest, "size": 3} for digest in missing]
    answer = registry.put_manifest("v1", image(config, layers))
    assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_BLOB_UNKNOWN"] * 2)
    assert [error["detail"]["digest"] for error in answer.json()["errors"]] == missing
    assert registry.manifest("v1").status_code == 404


def test_an_index_of_a_missing_manifest_is_manifest_blob_unknown(registry: Registry) -> None:
    """Push: a registry MAY reject descriptors of manifests that do not exist."""
    registry.push_image()
    descriptor = {"mediaType": IMAGE_TYPE, "digest": UNKNOWN, "size": 1}
    content = encode({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor]})
    answer = registry.put_manifest("v1", content, INDEX_TYPE)
    assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_BLOB_UNKNOWN"])


def test_a_digest_that_differs_from_the_content_is_400(registry: Registry) -> None:
    """ "Docker-Content-Digest … MUST be equal to the client provided digest"; DIGEST_INVALID."""
    content = registry.push_image().content
    answer = registry.put_manifest(sha256(content), content + b"  ")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    answer = registry.put_manifest("sha256:baddigeststring", content)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("tag", [".hidden", "-dash", "a" * 129])
def test_an_invalid_tag_is_400(registry: Registry, tag: str) -> None:
    """Pulling manifests: "<reference> MUST match … [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"."""
    answer = registry.put_manifest(tag, registry.push_image().content)
    assert (answer.status_code, codes(answer)) == (400, ["NAME_INVALID"])


@pytest.mark.parametrize("tag", ["a" * 128, "_", "V1.0_x-y", "sha256-" + "a" * 64 + ".sig"])
def test_tags_of_every_allowed_form_are_accepted(registry: Registry, tag: str) -> None:
    """Pulling manifests: a tag MUST be at most 128 characters."""
    content = registry.push_image().content
    assert registry.put_manifest(tag, content).status_code == 201
    assert registry.manifest(tag).content == content


@pytest.mark.parametrize("content", [b"", b"blablabla", b"[]", b'{"schemaVersion": 1}'])
def test_an_invalid_manifest_is_400(registry: Registry, content: bytes) -> None:
    """Error codes: MANIFEST_INVALID."""
    registry.push_image()
    answer = registry.put_manifest("v1", content)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


def test_a_manifest_of_nearly_four_megabytes_is_accepted(registry: Registry) -> None:
    """ "SHOULD expect to be able to support manifest pushes of at least 4 megabytes"."""
    annotations = {f"large-annotation-{number}": "A" * 10_000 for number in range(390)}
    pushed = registry.push_image("large", annotations=annotations)
    assert len(pushed.content) > 3_900_000
    for reference in ("large", pushed.digest):
        assert registry.manifest(reference).content == pushed.content


def test_a_manifest_over_four_mebibytes_is_413(registry: Registry) -> None:
    """ "SHOULD respond … with a response code 413 Payload Too Large"."""
    content = image(registry.push_blob(b"{}"), [], annotations={"a": "A" * 4 * 2**20})
    answer = registry.put_manifest("v1", content)
    assert (answer.status_code, codes(answer)) == (413, ["SIZE_INVALID"])


def test_unknown_fields_are_preserved(registry: Registry) -> None:
    """Image-spec, "Extensibility": unknown fields are not an error, and `data` is preserved."""
    config = b'{"data": "field"}'
    digest = registry.push_blob(config)
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "digest": digest,
                "size": len(config),
                "data": "eyJkYXRhIjogImZpZWxkIn0=",
                "newUnspecifiedField": "aGVsbG8gd29ybGQ=",
            },
            "layers": [],
            "anotherNewField": {"deep": [1, None]},
        }
    )
    assert registry.put_manifest("v1", content).status_code == 201
    assert registry.manifest("v1").content == content


def test_an_artifact_is_accepted(registry: Registry) -> None:
    """Image-spec, "Guidelines for Artifact Usage": artifactType, an empty config."""
    empty = registry.push_blob(b"{}")
    descriptor = {"mediaType": EMPTY_TYPE, "digest": empty, "size": 2}
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "artifactType": "application/vnd.example.oci.conformance.v1",
            "config": descriptor,
            "layers": [descriptor],
        }
    )
    assert registry.put_manifest("artifact", content).status_code == 201
    assert registry.manifest("artifact").content == content


def test_indexes_may_be_nested(registry: Registry) -> None:
    """Image-spec, "Image Index": an index may name indexes."""
    inner = registry.push_index([registry.push_image(), registry.push_image()])
    outer = registry.push_index([inner, registry.push_index([registry.push_image()])], "outer")
    assert registry.manifest("outer").content == outer.content


@pytest.mark.parametrize("media_type", FOREIGN)
def test_a_nondistributable_layer_may_be_missing_with_a_warning(
    registry: Registry, media_type: str
) -> None:
    """Image-spec, "Non-Distributable Layers"; "Warnings": agent `-`, code 299, no date."""
    layer = {
        "mediaType": media_type,
        "digest": UNKNOWN,
        "size": 123456,
        "urls": ["https://store.example.com/layer"],
    }
    content = image(registry.push_blob(b"{}"), [layer])
    answer = registry.put_manifest("v1", content)
    assert answer.status_code == 201
    warning = answer.headers["Warning"]
    assert warning.startswith('299 - "')
    assert warning.endswith('"')
    assert UNKNOWN in warning
    assert registry.manifest("v1").content == content


def test_a_nondistributable_layer_that_was_pushed_is_kept(registry: Registry) -> None:
    """Image-spec, "Non-Distributable Layers": a client MAY push them nevertheless."""
    data = os.urandom(50)
    layer = {"mediaType": FOREIGN[0], "digest": registry.push_blob(data), "size": 50}
    answer = registry.put_manifest("v1", image(registry.push_blob(b"{}"), [layer]))
    assert answer.status_code == 201
    assert "Warning" not in answer.headers
    # The blob is in use, so it is not deleted.
    assert registry.blob(sha256(data), "DELETE").status_code == 405
    assert registry.blob(sha256(data)).content == data


def test_a_sha512_manifest_is_found_by_its_digest_and_by_tags(registry: Registry) -> None:
    """Image-spec, "Digests": sha512; the push sets the tags (`tag`, OCI-Tag)."""
    content = registry.push_image().content
    digest = sha512(content)
    answer = registry.put_manifest(digest, content, params={"tag": ["one", "two"]})
    assert answer.status_code == 201
    assert answer.headers["OCI-Tag"] == "one, two"
    assert answer.headers["Docker-Content-Digest"] == digest
    for reference in (digest, "one", "two"):
        answer = registry.manifest(reference)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["Docker-Content-Digest"] == digest


def test_docker_images_and_manifest_lists_are_accepted(registry: Registry) -> None:
    """Docker registry v2: schema 2 manifests, and manifest lists."""
    config, layer = registry.push_blob(os.urandom(9)), registry.push_blob(os.urandom(9))
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_IMAGE,
            "config": {"mediaType": DOCKER_CONFIG, "digest": config, "size": 9},
            "layers": [{"mediaType": DOCKER_LAYER, "digest": layer, "size": 9}],
        }
    )
    assert registry.put_manifest("docker", content, DOCKER_IMAGE).status_code == 201
    entry = {"mediaType": DOCKER_IMAGE, "digest": sha256(content), "size": len(content)}
    listing = encode({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry]})
    assert registry.put_manifest("list", listing, DOCKER_LIST).status_code == 201
    for tag, media_type in (("docker", DOCKER_IMAGE), ("list", DOCKER_LIST)):
        assert registry.manifest(tag, "HEAD").headers["Content-Type"] == media_type
    assert registry.manifest("list").content == listing


def test_a_subject_is_acknowledged(registry: Registry) -> None:
    """Pushing Manifests with Subject: "MUST respond with … OCI-Subject: <subject digest>"."""
    subject = registry.push_image()
    for digest in (subject.digest, UNKNOWN):
        descriptor = {"mediaType": IMAGE_TYPE, "digest": digest, "size": 1}
        content = image(registry.push_blob(b"{}"), [], subject=descriptor)
        answer = registry.put_manifest(sha256(content), content)
        assert answer.status_code == 201
        assert answer.headers["OCI-Subject"] == digest
    index = encode(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [],
            "subject": subject.descriptor,
        }
    )
    answer = registry.put_manifest(sha256(index), index, INDEX_TYPE)
    assert answer.headers["OCI-Subject"] == subject.digest

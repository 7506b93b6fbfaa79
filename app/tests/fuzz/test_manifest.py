"""Manifests and indexes are parsed to their references, or refused with ManifestInvalid."""

from __future__ import annotations

import json
from typing import Any

from atoll.names import Digest
from atoll.registry.errors import ManifestInvalid
from atoll.registry.manifest_format import parse
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .answers import assert_sendable
from .fuzzing import fuzz
from .mutation import mutated_json, texts

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

_DESCRIPTOR = st.fixed_dictionaries(
    {
        "mediaType": st.sampled_from(
            [
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            ]
        ),
        "digest": st.binary(max_size=4).map(lambda data: str(Digest.of(data))),
        "size": st.integers(0, 2**40),
    },
    optional={"urls": st.just(["https://a.test/"]), "annotations": st.just({"a": "b"})},
)
_OPTIONAL = {
    "artifactType": st.just("application/vnd.example.sbom"),
    "subject": _DESCRIPTOR,
    "annotations": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
}


def _image(media_type: str) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "schemaVersion": st.just(2),
            "mediaType": st.just(media_type),
            "config": _DESCRIPTOR,
            "layers": st.lists(_DESCRIPTOR, max_size=5),
        },
        optional=_OPTIONAL,
    )


def _index(media_type: str) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "schemaVersion": st.just(2),
            "mediaType": st.just(media_type),
            "manifests": st.lists(_DESCRIPTOR, max_size=5),
        },
        optional=_OPTIONAL,
    )


def check(content: bytes, media_type: str) -> None:
    try:
        contents = parse(content, media_type)
    except ManifestInvalid as error:
        assert_sendable(error)
        return
    # The other content is passed to PostgreSQL and clients unchanged.
    text = content.decode()
    for digest in (*contents.blobs, *contents.optional, *contents.children):
        assert str(Digest.parse(digest)) == digest
        assert digest.partition(":")[2] in text or "\\u" in text
    assert contents.artifact_type is None or contents.artifact_type.isascii()
    assert contents.subject is None or Digest.parse(contents.subject)


def test_any_manifest_is_parsed_or_refused() -> None:
    for_type = st.sampled_from([IMAGE, _DOCKER_IMAGE])
    fuzz(check, mutated_json(for_type.flatmap(_image)), for_type | texts(for_type))


def test_any_index_is_parsed_or_refused() -> None:
    for_type = st.sampled_from([INDEX, _DOCKER_INDEX])
    fuzz(check, mutated_json(for_type.flatmap(_index)), for_type | texts(for_type))


def test_every_valid_manifest_is_accepted() -> None:
    def accept(document: dict[str, Any]) -> None:
        contents = parse(json.dumps(document).encode(), document["mediaType"])
        named = document.get("layers", document.get("manifests"))
        found = [*contents.blobs[1:], *contents.optional, *contents.children]
        assert sorted(found) == sorted(entry["digest"] for entry in named)

    fuzz(
        accept,
        _image(IMAGE) | _image(_DOCKER_IMAGE) | _index(INDEX) | _index(_DOCKER_INDEX),
        share=0.1,
    )

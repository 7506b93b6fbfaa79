"""References of manifests are extracted, and malformed manifests are refused."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from atoll.registry.errors import ManifestInvalid
from atoll.registry.manifest_format import (
    MAXIMUM_CHILDREN,
    MAXIMUM_LAYERS,
    MAXIMUM_SIZE,
    Descriptor,
    ParsedManifest,
    parse,
)
from hypothesis import given
from hypothesis import strategies as st

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def manifest(**changes: object) -> bytes:
    document = {"schemaVersion": 2, "config": {"digest": A}, "layers": [{"digest": B}], **changes}
    return json.dumps(document).encode()


def test_an_image_references_its_config_and_layers() -> None:
    assert parse(manifest(), IMAGE) == ParsedManifest(blobs=[A, B], config=A)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_manifest_in_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse(manifest().decode().encode(encoding), IMAGE)


def test_an_index_references_its_manifests() -> None:
    content = json.dumps({"schemaVersion": 2, "manifests": [{"digest": A}]}).encode()
    assert parse(content, INDEX) == ParsedManifest(listed=[Descriptor(A)])


def test_subject_and_artifact_type_are_extracted() -> None:
    content = manifest(subject={"digest": A}, artifactType="application/vnd.example")
    assert parse(content, IMAGE) == ParsedManifest([A, B], [], A, A, "application/vnd.example")


def test_a_foreign_layer_is_optional() -> None:
    foreign = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": B}
    assert parse(manifest(layers=[foreign]), IMAGE).blobs == [A]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", IMAGE),
        (b"[]", IMAGE),
        (b"{", IMAGE),
        (b"\xff", IMAGE),
        (b"[" * 100_000, IMAGE),
        (manifest(schemaVersion=1), IMAGE),
        (manifest(mediaType=INDEX), IMAGE),
        (manifest(config=None), IMAGE),
        (manifest(config={"digest": 7}), IMAGE),
        (manifest(config={"digest": "sha256:x"}), IMAGE),
        (manifest(layers={}), IMAGE),
        (manifest(layers=[7]), IMAGE),
        (manifest(subject=7), IMAGE),
        (manifest(artifactType=7), IMAGE),
        (manifest(artifactType="a\0b/c"), IMAGE),
        (manifest(), "text/plain"),
        (manifest(), INDEX),
    ],
)
def test_a_malformed_manifest_is_refused(content: bytes, media_type: str) -> None:
    with pytest.raises(ManifestInvalid):
        parse(content, media_type)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["schemaVersion", "config", "layers", "manifests", "subject", "mediaType"]),
        json_values | st.just(2),
    ),
    st.sampled_from([IMAGE, INDEX]),
)
def test_any_json_is_either_parsed_or_refused(document: object, kind: str) -> None:
    try:
        parse(json.dumps(document).encode(), kind)
    except ManifestInvalid:
        return


@pytest.mark.parametrize("value", [b'{"":{}},', b"[" * 1000])
def test_a_manifest_of_many_values_is_refused_in_constant_memory(value: bytes) -> None:
    content = manifest(annotations={"a": 1})[:-2] + b"[" + value * (4 * 2**20 // len(value))
    tracemalloc.start()
    try:
        with pytest.raises(ManifestInvalid, match=r"the manifest (has|is nested) more than"):
            parse(content, IMAGE)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_manifest_of_the_maximum_number_of_layers_may_have_many_annotations() -> None:
    annotations = {f"org.example.annotation-{number}": "value" for number in range(90)}
    content = manifest(layers=[{"digest": B, "annotations": annotations}] * MAXIMUM_LAYERS)
    assert 3 * 2**20 < len(content) < MAXIMUM_SIZE
    assert len(parse(content, IMAGE).blobs) == 1 + MAXIMUM_LAYERS


def test_the_number_of_entries_in_a_manifest_is_limited() -> None:
    layers = [{"digest": B}] * MAXIMUM_LAYERS
    assert len(parse(manifest(layers=layers), IMAGE).blobs) == 1 + MAXIMUM_LAYERS
    with pytest.raises(ManifestInvalid, match="at most 1000"):
        parse(manifest(layers=[*layers, {"digest": B}]), IMAGE)
    children = [{"digest": A}] * MAXIMUM_CHILDREN
    document = {"schemaVersion": 2, "manifests": children}
    assert len(parse(json.dumps(document).encode(), INDEX).children) == MAXIMUM_CHILDREN
    document["manifests"] = [*children, {"digest": A}]
    with pytest.raises(ManifestInvalid, match="at most 1000"):
        parse(json.dumps(document).encode(), INDEX)

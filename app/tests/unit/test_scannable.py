"""Each kind of manifest is either scanned or has the state that names the obstacle."""

from __future__ import annotations

from typing import Any

import pytest
from atoll.config.units import parse_size
from atoll.scanning.scan_states import ScanState
from atoll.scanning.scannable import (
    ImageLayer,
    layers_of,
    manifest_obstacle,
    scan_obstacle,
)
from atoll.upstream.media_types import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX
from hypothesis import given
from hypothesis import strategies as st

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DIGEST = f"sha256:{'a' * 64}"


def layer(media_type: str | None = f"{OCI_LAYER}+gzip", size: int | None = 100) -> ImageLayer:
    return ImageLayer(DIGEST, media_type, size)


def obstacle(*layers: ImageLayer, maximum: int | None = None) -> ScanState | None:
    return scan_obstacle(OCI_IMAGE, OCI_CONFIG, layers, maximum)


@pytest.mark.parametrize(
    "media_type",
    [
        OCI_LAYER,
        f"{OCI_LAYER}+gzip",
        # The recording 63-zstd-201 shows that Clair reads it.
        f"{OCI_LAYER}+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        DOCKER_LAYER,
        None,
    ],
)
def test_an_image_of_tar_layers_is_scanned(media_type: str | None) -> None:
    assert obstacle(layer(), layer(media_type)) is None


def test_a_docker_image_is_scanned() -> None:
    assert scan_obstacle(DOCKER_IMAGE, DOCKER_CONFIG, [layer(DOCKER_LAYER)], None) is None


def test_an_image_that_has_a_layer_twice_is_scanned() -> None:
    assert obstacle(layer(), layer()) is None


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_is_unsupported(media_type: str) -> None:
    assert scan_obstacle(media_type, None, [], None) is ScanState.UNSUPPORTED


def test_an_index_with_fields_of_an_image_is_unsupported() -> None:
    assert scan_obstacle(OCI_INDEX, OCI_CONFIG, [layer()], None) is ScanState.UNSUPPORTED


@pytest.mark.parametrize(
    "config",
    [None, "application/vnd.oci.empty.v1+json", "application/vnd.cncf.helm.config.v1+json"],
)
def test_an_artifact_is_unsupported(config: str | None) -> None:
    assert scan_obstacle(OCI_IMAGE, config, [layer()], None) is ScanState.UNSUPPORTED


def test_a_manifest_with_the_artifact_type_of_no_image_is_unsupported() -> None:
    found = scan_obstacle(
        OCI_IMAGE, OCI_CONFIG, [layer()], None, artifact_type="application/spdx+json"
    )
    assert found is ScanState.UNSUPPORTED


def test_an_image_without_layers_is_unsupported() -> None:
    assert obstacle() is ScanState.UNSUPPORTED


@pytest.mark.parametrize(
    "media_type",
    [
        f"{OCI_LAYER}+encrypted",
        f"{OCI_LAYER}+gzip+encrypted",
        f"{OCI_LAYER}+zstd+encrypted",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.in-toto+json",
    ],
)
def test_an_image_with_one_layer_that_clair_cannot_read_is_unsupported(media_type: str) -> None:
    assert obstacle(layer(), layer(media_type)) is ScanState.UNSUPPORTED


def test_a_layer_over_the_maximum_is_too_large() -> None:
    maximum = parse_size("2G")
    assert obstacle(layer(size=maximum), maximum=maximum) is None
    found = obstacle(layer(), layer(size=maximum + 1), maximum=maximum)
    assert found is ScanState.LAYER_TOO_LARGE


def test_without_a_maximum_no_layer_is_too_large() -> None:
    assert obstacle(layer(size=2**62)) is None


def test_a_layer_of_unknown_size_is_scanned() -> None:
    assert obstacle(layer(size=None), maximum=1) is None


def test_the_content_of_a_manifest_has_the_same_obstacles() -> None:
    entry = {"mediaType": DOCKER_LAYER, "digest": DIGEST, "size": 5}
    document: dict[str, Any] = {"config": {"mediaType": DOCKER_CONFIG}, "layers": [entry]}
    assert layers_of(document) == [ImageLayer(DIGEST, DOCKER_LAYER, 5)]
    assert manifest_obstacle(DOCKER_IMAGE, document, 5) is None
    assert manifest_obstacle(DOCKER_IMAGE, document, 4) is ScanState.LAYER_TOO_LARGE
    assert manifest_obstacle(DOCKER_LIST, document, None) is ScanState.UNSUPPORTED
    document["artifactType"] = "application/spdx+json"
    assert manifest_obstacle(DOCKER_IMAGE, document, None) is ScanState.UNSUPPORTED


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["mediaType", "size", "digest"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES, VALUES, VALUES)
def test_a_manifest_with_fields_of_other_types_is_judged(
    config: object, layers: object, artifact_type: object
) -> None:
    document = {"config": config, "layers": layers, "artifactType": artifact_type}
    assert manifest_obstacle(OCI_IMAGE, document, 1) is ScanState.UNSUPPORTED

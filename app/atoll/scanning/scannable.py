"""The decision which manifests are scanned.

Formats: OCI image-spec v1.1, Docker image manifest version 2, schema 2. Layers: those that Clair
4.9 analyzes, which are tar archives, plain or compressed with gzip or zstd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.media_types import IMAGE_CONFIG_TYPES, IMAGE_TYPES
from atoll.scanning.scan_states import ScanState

# Foreign and encrypted layers have other types. The registry need not have the former, and the
# latter cannot be read without their key.
_LAYER_TYPES = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)


@dataclass(frozen=True)
class ImageLayer:
    """A layer of a manifest; None for a media type or a size in bytes that is not valid."""

    digest: str
    media_type: str | None
    size: int | None


def scan_obstacle(
    media_type: str,
    config_media_type: str | None,
    layers: Sequence[ImageLayer],
    maximum_layer_bytes: int | None,
    *,
    artifact_type: str | None = None,
) -> ScanState | None:
    """Return the state of a manifest that is not scanned.

    Args:
        media_type: The media type of the manifest.
        config_media_type: The media type of its configuration; None for an index.
        layers: The layers. A size that is not known exceeds no maximum.
        maximum_layer_bytes: The size in bytes of the largest layer that is scanned; None for no
            maximum.
        artifact_type: The `artifactType` of the manifest; None if it has none.

    Returns:
        UNSUPPORTED for an index, an artifact, and an image without layers or with a layer that
        Clair cannot read; LAYER_TOO_LARGE for an image with a layer over the maximum; None for an
        image that is scanned.
    """
    types = {config_media_type, artifact_type or config_media_type}
    if media_type not in IMAGE_TYPES or not types <= IMAGE_CONFIG_TYPES or not layers:
        return ScanState.UNSUPPORTED
    # Docker does not read the types of layers, so its images may lack them.
    if any(layer.media_type not in {None, *_LAYER_TYPES} for layer in layers):
        return ScanState.UNSUPPORTED
    sizes = [layer.size for layer in layers if layer.size is not None]
    if maximum_layer_bytes is not None and max(sizes, default=0) > maximum_layer_bytes:
        return ScanState.LAYER_TOO_LARGE
    return None


def manifest_obstacle(
    media_type: str, document: Mapping[str, Any], maximum_layer_bytes: int | None
) -> ScanState | None:
    """Return the state of a manifest that is not scanned, from its content.

    Args:
        media_type: The media type of the manifest.
        document: The parsed manifest, which the registry accepted.
        maximum_layer_bytes: The size in bytes of the largest layer that is scanned; None for no
            maximum. It is compared with the sizes in the manifest.

    Returns:
        As `scan_obstacle`.
    """
    config = document.get("config")
    return scan_obstacle(
        media_type,
        _text(config, "mediaType"),
        layers_of(document),
        maximum_layer_bytes,
        artifact_type=_text(document, "artifactType"),
    )


def layers_of(document: Mapping[str, Any]) -> list[ImageLayer]:
    """Return the layers of a parsed manifest in their order; none of an index."""
    layers = document.get("layers")
    return [
        ImageLayer(_text(entry, "digest") or "", _text(entry, "mediaType"), _size(entry))
        for entry in (layers if isinstance(layers, list) else [])
    ]


def _text(descriptor: object, key: str) -> str | None:
    value = descriptor.get(key) if isinstance(descriptor, Mapping) else None
    return value if isinstance(value, str) and value else None


def _size(descriptor: object) -> int | None:
    size = descriptor.get("size") if isinstance(descriptor, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) else None

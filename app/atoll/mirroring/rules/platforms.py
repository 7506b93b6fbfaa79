"""The selection of the images in an index by their architecture."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

# Annotations by which BuildKit marks a manifest that describes an image of the same index.
_KIND, _DESCRIBED = "vnd.docker.reference.type", "vnd.docker.reference.digest"


def selected_digests(index: bytes, architectures: Collection[str]) -> set[str]:
    """Return the digests of the manifests in an index that a filter selects.

    Manifests without a platform, such as nested indexes and artifacts, are selected. Attestations
    are selected with the image that they describe.

    Args:
        index: The index, which was parsed before.
        architectures: The architectures; all if empty.
    """
    entries: list[Mapping[str, Any]] = json.loads(index.decode())["manifests"]
    if not architectures:
        return {entry["digest"] for entry in entries}
    described = {entry["digest"]: _described(entry) for entry in entries}
    images = {
        entry["digest"]
        for entry in entries
        if described[entry["digest"]] is None and _matches(entry, architectures)
    }
    return images | {digest for digest, subject in described.items() if subject in images}


def _matches(entry: Mapping[str, Any], architectures: Collection[str]) -> bool:
    platform = entry.get("platform")
    architecture = platform.get("architecture") if isinstance(platform, dict) else None
    return architecture in [None, "", "unknown", *architectures]


def _described(entry: Mapping[str, Any]) -> str | None:
    """Return the digest of the image that an attestation describes; None for other manifests."""
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict) or annotations.get(_KIND) is None:
        return None
    return str(annotations.get(_DESCRIBED))

"""Parsing and validation of manifests.

Formats: OCI image-spec v1.1, Docker image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.json_bounds import BoundExceeded, check_structure
from atoll.media_types import IMAGE_TYPES, INDEX_TYPES
from atoll.names import Digest, InvalidDigest
from atoll.registry.errors import ManifestInvalid

MAXIMUM_SIZE = 4 * 2**20
# Docker supports at most 127 layers. The limit of indexes is that of Quay's mirroring.
MAXIMUM_LAYERS = 1000
MAXIMUM_CHILDREN = 1000

_SCHEMA_VERSION = 2
# The largest size that PostgreSQL stores, in bytes.
_MAXIMUM_BYTES = 2**63 - 1
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]*/[A-Za-z0-9][\w!#$&^.+-]*", re.ASCII)
# Substrings of the media types of foreign layers, which clients pull from the URLs in the manifest.
_FOREIGN = ("nondistributable", "foreign.diff")


@dataclass(frozen=True)
class Descriptor:
    """A reference to a manifest, with its size in bytes; None for values that are not valid."""

    digest: str
    media_type: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class ParsedManifest:
    """The references of a manifest.

    Attributes:
        blobs: The digests of the configuration and of the layers of an image.
        listed: The manifests in an index.
        config: The digest of the configuration of an image.
        subject: The digest of the manifest that it refers to.
        artifact_type: The artifact type.
        optional: The digests of foreign layers, which need not be in the repository.
    """

    blobs: list[str] = field(default_factory=list)
    listed: list[Descriptor] = field(default_factory=list)
    config: str | None = None
    subject: str | None = None
    artifact_type: str | None = None
    optional: list[str] = field(default_factory=list)

    @property
    def children(self) -> list[str]:
        """The digests of the manifests in an index."""
        return [one.digest for one in self.listed]


def parse(content: bytes, media_type: str) -> ParsedManifest:
    """Parse a manifest of a given media type.

    Raises:
        ManifestInvalid: The manifest is malformed or of an unsupported type, or has too many values
            or levels.
    """
    document = _document(content, media_type)
    subject = document.get("subject")
    parsed = ParsedManifest(
        subject=_digest(subject, "subject") if subject is not None else None,
        artifact_type=_artifact_type(document),
    )
    if media_type in INDEX_TYPES:
        listed = [
            _descriptor(entry, f"manifests[{number}]")
            for number, entry in _entries(document, "manifests", MAXIMUM_CHILDREN)
        ]
        return replace(parsed, listed=listed)
    if media_type in IMAGE_TYPES:
        blobs = [_digest(document.get("config"), "config")]
        optional: list[str] = []
        for number, entry in _entries(document, "layers", MAXIMUM_LAYERS):
            digests = optional if _is_foreign(entry) else blobs
            digests.append(_digest(entry, f"layers[{number}]"))
        return replace(parsed, blobs=blobs, optional=optional, config=blobs[0])
    raise ManifestInvalid(f"manifests of media type '{media_type}' are not supported")


def _document(content: bytes, media_type: str) -> dict[str, Any]:
    try:
        check_structure(content)
    except BoundExceeded as error:
        raise ManifestInvalid(
            f"the manifest {error}; remove annotations, or push several smaller manifests"
        ) from error
    try:
        # Given bytes, json also accepts UTF-16, which neither clients nor PostgreSQL support.
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid("the manifest is not JSON") from error
    if not isinstance(document, dict):
        raise ManifestInvalid("the manifest is not a JSON object")
    if document.get("schemaVersion") != _SCHEMA_VERSION:
        raise ManifestInvalid("schemaVersion must be 2")
    if document.get("mediaType", media_type) != media_type:
        raise ManifestInvalid(
            f"mediaType is '{document['mediaType']}', but the Content-Type is '{media_type}'"
        )
    return document


def _entries(document: dict[str, Any], key: str, maximum: int) -> list[tuple[int, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise ManifestInvalid(f"{key} must be a list")
    if len(entries) > maximum:
        raise ManifestInvalid(f"{key} has {len(entries)} entries; at most {maximum} are supported")
    return list(enumerate(entries))


def _descriptor(entry: Any, path: str) -> Descriptor:
    """Return a descriptor. Clients push manifests with invalid sizes and media types, too."""
    digest = _digest(entry, path)
    media_type, size = entry.get("mediaType"), entry.get("size")
    return Descriptor(
        digest,
        media_type if is_media_type(media_type) else None,
        size if type(size) is int and 0 <= size <= _MAXIMUM_BYTES else None,
    )


def _digest(descriptor: Any, path: str) -> str:
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("digest"), str):
        raise ManifestInvalid(f"{path} must be a descriptor with a digest")
    try:
        return str(Digest.parse(descriptor["digest"]))
    except InvalidDigest as error:
        raise ManifestInvalid(f"{path}: {error}") from error


def _artifact_type(document: dict[str, Any]) -> str | None:
    artifact_type = document.get("artifactType")
    if artifact_type is None:
        return None
    if not is_media_type(artifact_type):
        raise ManifestInvalid("artifactType must be a media type")
    return str(artifact_type)


def is_media_type(text: Any) -> bool:
    """Return whether a value is a media type."""
    return isinstance(text, str) and _MEDIA_TYPE.fullmatch(text) is not None


def _is_foreign(descriptor: Any) -> bool:
    media_type = descriptor.get("mediaType") if isinstance(descriptor, dict) else None
    return isinstance(media_type, str) and any(word in media_type for word in _FOREIGN)

"""Media types of manifests, and how the type of a received manifest is determined."""

from __future__ import annotations

from typing import Any

from atoll.upstream.bounded_json import parsed
from atoll.upstream.errors import Schema1, UnsupportedManifest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
SUPPORTED = (OCI_INDEX, OCI_IMAGE, DOCKER_LIST, DOCKER_IMAGE)
_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
# Schema 1 is accepted in order to be named in the error: without it, registries respond that the
# manifest does not exist.
ACCEPT = ", ".join([*SUPPORTED, *(f"{one};q=0.1" for one in _SCHEMA_1)])


def is_schema_1(content_type: str) -> bool:
    """Return whether a Content-Type is that of a Docker manifest of schema 1."""
    return _plain(content_type) in _SCHEMA_1


def manifest_type(content: bytes, content_type: str, name: str) -> str:
    """Return the media type of a manifest.

    The manifest's own `mediaType` takes precedence over the header, which some registries set to a
    general type.

    Args:
        content: The manifest.
        content_type: The value of Content-Type.
        name: The manifest, for errors.

    Raises:
        Schema1: It is a Docker image manifest of schema 1.
        UnsupportedManifest: The type is not supported.
        TooLarge: It has too many values.
        InvalidContent: It is not a JSON object.
    """
    with parsed(content, f"the manifest {name}") as document:
        return _type_of(document, content_type, name)


def _type_of(document: dict[str, Any], content_type: str, name: str) -> str:
    if document.get("schemaVersion") == 1 or is_schema_1(content_type):
        raise Schema1(f"the manifest {name} is of Docker's schema 1, which is not supported")
    for found in (document.get("mediaType"), _plain(content_type), _by_content(document)):
        if found in SUPPORTED:
            return str(found)
    raise UnsupportedManifest(f"the manifest {name} is of an unsupported media type")


def _by_content(document: dict[str, Any]) -> str | None:
    if "mediaType" in document:
        return None
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    return OCI_IMAGE if "config" in document and "layers" in document else None


def _plain(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()

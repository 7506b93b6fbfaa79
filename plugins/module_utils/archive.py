"""Read the name and the digest of the image in an archive, without podman."""

from __future__ import annotations

import json
import re
import tarfile
from typing import Any

REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArchiveError(Exception):
    """The archive cannot be used; the message names the cause and the remedy."""


def archive_reference(path: str) -> str:
    """Return the image of an OCI archive as NAME@DIGEST.

    Raises:
        ArchiveError: The archive is missing, invalid, or does not hold exactly one named image.
    """
    manifest = _only_manifest(path, _index(path))
    name = _repository(manifest.get("annotations", {}).get(REFERENCE_ANNOTATION, ""))
    digest = manifest.get("digest", "")
    if not name:
        raise ArchiveError(
            f"{path} does not name its image. Save the image by its full name: "
            "podman save --format oci-archive --output FILE NAME:TAG"
        )
    if not DIGEST.fullmatch(digest):
        raise ArchiveError(
            f"The digest of the image in {path}, {digest!r}, is not a SHA-256 digest."
        )
    return f"{name}@{digest}"


def _index(path: str) -> dict[str, Any]:
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            if member is None:
                raise KeyError("index.json")
            index: dict[str, Any] = json.load(member)
            return index
    except FileNotFoundError:
        raise ArchiveError(
            f"There is no image archive {path} on the controller. "
            "Build the images first (make images), or specify the image by its digest instead."
        ) from None
    except KeyError:
        raise ArchiveError(
            f"{path} is not an OCI archive. Save the image with: "
            "podman save --format oci-archive --output FILE NAME:TAG"
        ) from None
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ArchiveError(f"The image archive {path} cannot be read: {error}") from error


def _only_manifest(path: str, index: dict[str, Any]) -> dict[str, Any]:
    manifests: list[dict[str, Any]] = index.get("manifests", [])
    if len(manifests) != 1:
        raise ArchiveError(f"{path} holds {len(manifests)} images; it must hold exactly one.")
    return manifests[0]


def _repository(name: str) -> str:
    """Remove the tag. A colon before a slash separates a port."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository = name
    return repository if "/" in repository else ""

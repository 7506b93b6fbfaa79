"""Read what an image archive holds, on the controller, without podman."""

from __future__ import annotations

import json
import re
import tarfile

REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArchiveError(Exception):
    """The archive cannot be used; the message says why and what to do."""


def archive_reference(path: str) -> str:
    """Return the image of an OCI archive as NAME@DIGEST."""
    manifest = _only_manifest(path, _index(path))
    name = _repository(manifest.get("annotations", {}).get(REFERENCE_ANNOTATION, ""))
    digest = manifest.get("digest", "")
    if not name:
        raise ArchiveError(
            f"{path} does not say which image it holds. Save it by its full name: "
            "podman save --format oci-archive --output FILE NAME:TAG"
        )
    if not DIGEST.fullmatch(digest):
        raise ArchiveError(f"{path} names its image by {digest!r}, which is no sha256 digest.")
    return f"{name}@{digest}"


def _index(path: str) -> dict:
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            if member is None:
                raise KeyError("index.json")
            return json.load(member)
    except FileNotFoundError:
        raise ArchiveError(
            f"There is no image archive {path} on the controller. "
            "Build the images first (make images), or set the image by its digest instead."
        ) from None
    except KeyError:
        raise ArchiveError(
            f"{path} is no OCI archive. Save the image with: "
            "podman save --format oci-archive --output FILE NAME:TAG"
        ) from None
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ArchiveError(f"The image archive {path} cannot be read: {error}") from error


def _only_manifest(path: str, index: dict) -> dict:
    manifests = index.get("manifests", [])
    if len(manifests) != 1:
        raise ArchiveError(f"{path} holds {len(manifests)} images; it must hold exactly one.")
    return manifests[0]


def _repository(name: str) -> str:
    """Take the tag off; a port is followed by a slash, a tag is not."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository = name
    return repository if "/" in repository else ""

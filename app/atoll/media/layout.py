"""The files of a medium that other programs read: the OCI index and the list of checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.media.description import Description, RepositoryContent
from atoll.media.files import blob_name

_REFERENCE = "org.opencontainers.image.ref.name"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def index(description: Description) -> bytes:
    """Return `index.json`: the tagged images and the referrers that the medium itself has.

    The name of an image is NAMESPACE/REPOSITORY:TAG.
    """
    manifests = [
        entry
        for name, content in description.repositories.items()
        for entry in _entries(name, content, description.files)
    ]
    document = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": manifests}
    return json.dumps(document, separators=(",", ":")).encode()


def checksums(metadata: Mapping[str, bytes], files: Mapping[str, int]) -> bytes:
    """Return a file for `sha256sum --check`.

    Args:
        metadata: The files without a content address, which come first.
        files: The digests of all others.
    """
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in metadata.items()
    ]
    lines += [
        f"{digest.removeprefix('sha256:')}  {blob_name(digest)}\n"
        for digest in files
        if digest.startswith("sha256:")
    ]
    return "".join(lines).encode()


def _entries(
    name: str, content: RepositoryContent, files: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    for tag, state in content.tags.items():
        if state.digest in files:
            entry = _descriptor(state.digest, content, files)
            yield {**entry, "annotations": {_REFERENCE: f"{name}:{tag}"}}
    for image, manifests in content.images.items():
        for digest in manifests[manifests.index(image) + 1 :]:
            if digest in files:
                yield _descriptor(digest, content, files)


def _descriptor(
    digest: str, content: RepositoryContent, files: Mapping[str, int]
) -> dict[str, Any]:
    return {"mediaType": content.types[digest], "digest": digest, "size": files[digest]}

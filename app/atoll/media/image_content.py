"""Collect the manifests and blobs of an image: images of an index, referrers, signatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from atoll.mirroring.copying.image_copier import INDEX_DEPTH, REFERRER_DEPTH
from atoll.names import Digest, RepositoryName
from atoll.registry.blobs import Blob, Blobs
from atoll.registry.errors import BlobUnknown, ManifestInvalid, ManifestUnknown
from atoll.registry.manifest import Manifest
from atoll.registry.manifest_format import parse
from atoll.registry.manifests import Manifests
from atoll.registry.referrers import Referrers


@dataclass
class ImageContent:
    """An image.

    Attributes:
        types: The media types of its manifests by their digests, in the order of an import.
        sizes: The sizes of its manifests in bytes.
        blobs: Its blobs.
        absent: Manifests that its indexes list and that the repository does not have.
    """

    types: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


class ImageContents:
    """Collects the content of images."""

    def __init__(self, manifests: Manifests, blobs: Blobs, referrers: Referrers) -> None:
        self._manifests = manifests
        self._blobs = blobs
        self._referrers = referrers

    def of(self, name: RepositoryName, digest: str) -> ImageContent:
        """Return the content of an image.

        Raises:
            ManifestUnknown: The repository does not have the manifest.
            ManifestInvalid: Indexes are nested too deeply.
            BlobUnknown: A blob was deleted.
        """
        content = ImageContent()
        self._add(name, digest, content, 0)
        for manifest in list(content.types):
            self._add_referrers(name, manifest, content, REFERRER_DEPTH)
        return content

    def manifest(self, name: RepositoryName, digest: str) -> Manifest:
        """Return a manifest of an image."""
        return self._manifests.get(name, digest)

    def _add(self, name: RepositoryName, digest: str, content: ImageContent, depth: int) -> None:
        if digest in content.types:
            return
        if depth > INDEX_DEPTH:
            raise ManifestInvalid(f"index {digest} is nested too deeply")
        manifest = self._manifests.get(name, digest)
        parsed = parse(manifest.content, manifest.media_type)
        for child in parsed.children:
            try:
                self._add(name, child, content, depth + 1)
            except ManifestUnknown:
                # The index is sparse.
                content.absent.add(child)
        for blob in parsed.blobs:
            content.blobs[blob] = self._blobs.find(name, Digest.parse(blob))
        for blob in parsed.optional:
            try:
                content.blobs[blob] = self._blobs.find(name, Digest.parse(blob))
            except BlobUnknown:
                # A foreign layer, which clients pull from elsewhere.
                continue
        content.types[digest] = manifest.media_type
        content.sizes[digest] = len(manifest.content)

    def _add_referrers(
        self, name: RepositoryName, subject: str, content: ImageContent, depth: int
    ) -> None:
        for digest in self._listed_referrers(name, subject):
            if digest in content.types:
                continue
            self._add(name, digest, content, 0)
            if depth > 1:
                self._add_referrers(name, digest, content, depth - 1)

    def _listed_referrers(self, name: RepositoryName, subject: str) -> Iterator[str]:
        after: int | None = 0
        while after is not None:
            found, after = self._referrers.list(name, Digest.parse(subject), None, after)
            yield from (one.digest for one in found)

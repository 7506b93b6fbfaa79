"""Content of upstream registries: blobs, images, indexes and artifacts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class UpstreamRepository:
    """The content of one repository.

    Attributes:
        tags: The digest of each tag.
        manifests: The media type and the bytes of each manifest by its digest.
        blobs: The bytes of each blob by its digest.
    """

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def add_blob(self, content: bytes) -> str:
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def add_manifest(
        self, document: Mapping[str, object], media_type: str, tag: str | None = None
    ) -> str:
        return self.add_raw_manifest(json.dumps(document).encode(), media_type, tag)

    def add_raw_manifest(self, content: bytes, media_type: str, tag: str | None = None) -> str:
        digest = digest_of(content)
        self.manifests[digest] = media_type, content
        if tag is not None:
            self.tags[tag] = digest
        return digest

    def add_image(
        self,
        tag: str | None = None,
        *,
        layers: Sequence[bytes] | None = None,
        architecture: str = "amd64",
        seed: int = 0,
    ) -> str:
        """Add an image with a valid configuration, and return its digest."""
        layers = [layer(seed)] if layers is None else layers
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": [digest_of(_uncompressed(one)) for one in layers],
            },
        }
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": self._descriptor(json.dumps(config).encode(), OCI_CONFIG),
            "layers": [self._descriptor(one, OCI_LAYER) for one in layers],
        }
        return self.add_manifest(document, OCI_IMAGE, tag)

    def add_index(self, tag: str | None, images: Mapping[str, str], **more: object) -> str:
        """Add an index of images by architecture, and return its digest."""
        manifests = [
            {
                "mediaType": self.manifests[digest][0],
                "digest": digest,
                "size": len(self.manifests[digest][1]),
                "platform": {"architecture": architecture, "os": "linux"},
            }
            for architecture, digest in images.items()
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **more}
        return self.add_manifest(document, OCI_INDEX, tag)

    def add_referrer(self, subject: str, artifact_type: str, tag: str | None = None) -> str:
        """Add an artifact that refers to a manifest, and return its digest."""
        media_type, content = self.manifests[subject]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "artifactType": artifact_type,
            "config": self._descriptor(b"{}", OCI_EMPTY),
            "layers": [self._descriptor(artifact_type.encode(), "text/plain")],
            "subject": {"mediaType": media_type, "digest": subject, "size": len(content)},
        }
        return self.add_manifest(document, OCI_IMAGE, tag)

    def referrers(self, subject: str) -> list[dict[str, object]]:
        """Return the descriptors of the manifests that refer to a manifest."""
        found = []
        for digest, (media_type, content) in self.manifests.items():
            try:
                document = json.loads(content)
            except ValueError:
                continue
            if (
                isinstance(document, dict)
                and (document.get("subject") or {}).get("digest") == subject
            ):
                found.append(
                    {
                        "mediaType": media_type,
                        "digest": digest,
                        "size": len(content),
                        "artifactType": document.get("artifactType"),
                    }
                )
        return found

    def _descriptor(self, content: bytes, media_type: str) -> dict[str, object]:
        return {
            "mediaType": media_type,
            "digest": self.add_blob(content),
            "size": len(content),
        }


def layer(seed: int, size: int = 2000) -> bytes:
    """Return a compressed layer with one file of incompressible bytes."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(f"file-{seed}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(seed).randbytes(size)))
    return gzip.compress(tar.getvalue(), mtime=0)


def _uncompressed(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except OSError:
        return content

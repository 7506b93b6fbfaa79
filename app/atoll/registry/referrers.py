"""Referrers: the manifests whose subject is a given manifest.

Source: OCI distribution-spec v1.1.1, "Listing Referrers" (end-12).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_PAGE_MAXIMUM_BYTES = 4 * 2**20

# List a page of referrers: at least one, and as many as have at most %(maximum)s bytes together,
# which bounds memory and the size of the index. The last column is true if there are more.
_LIST = f"""
SELECT id, digest, media_type, bytes, artifact_type, manifest_bytes, total < total_of_all FROM (
    SELECT m.id, m.digest, m.media_type, octet_length(m.manifest_bytes) AS bytes, m.artifact_type,
           m.manifest_bytes, sum(octet_length(m.manifest_bytes)) OVER (ORDER BY m.id) AS total,
           sum(octet_length(m.manifest_bytes)) OVER () AS total_of_all
    FROM manifest m
    WHERE m.repository_id = {REPOSITORY_ID} AND m.subject = %(subject)s AND m.deleted_at IS NULL
      AND m.id > %(after)s
) AS referrer
WHERE total <= %(maximum)s OR total = bytes
ORDER BY id
"""


@dataclass(frozen=True)
class Referrer:
    """The descriptor of a manifest with a subject."""

    digest: str
    media_type: str
    size: int
    artifact_type: str | None
    annotations: dict[str, str] | None

    def descriptor(self) -> dict[str, Any]:
        """Return the descriptor as JSON."""
        descriptor: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.artifact_type:
            descriptor["artifactType"] = self.artifact_type
        if self.annotations:
            descriptor["annotations"] = self.annotations
        return descriptor


class Referrers:
    """The referrers of all repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, name: RepositoryName, subject: Digest, artifact_type: str | None, after: int
    ) -> tuple[list[Referrer], int | None]:
        """List a page of the manifests that refer to a subject.

        Args:
            name: The repository.
            subject: The digest of the subject, which need not exist.
            artifact_type: The artifact type to return; None for all.
            after: The position that the previous page returned; 0 for the first page.

        Returns:
            The referrers, and the position of the next page; None after the last one.
        """
        rows = self._database.read(
            _LIST,
            {
                **name_parameters(name),
                "subject": str(subject),
                "after": after,
                "maximum": _PAGE_MAXIMUM_BYTES,
            },
        )
        referrers = [_referrer(*row[1:6]) for row in rows]
        if artifact_type is not None:
            referrers = [one for one in referrers if one.artifact_type == artifact_type]
        more = bool(rows) and rows[-1][6]
        return referrers, rows[-1][0] if more else None


def _referrer(
    digest: str, media_type: str, size: int, artifact_type: str | None, content: memoryview
) -> Referrer:
    """Build a descriptor; the default artifact type is the media type of the configuration."""
    document = json.loads(bytes(content))
    if artifact_type is None:
        config = document.get("config")
        artifact_type = config.get("mediaType") if isinstance(config, dict) else None
    annotations = document.get("annotations")
    return Referrer(
        digest,
        media_type,
        size,
        artifact_type if isinstance(artifact_type, str) else None,
        annotations if isinstance(annotations, dict) else None,
    )

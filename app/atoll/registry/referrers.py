"""Referrers: the manifests that say of another one that it is their subject.

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

# As many as have MAXIMUM bytes together, but one at least: no more than that is held in memory, and
# an index should not be larger. The last column tells whether there are more.
_LIST = f"""
SELECT id, digest, media_type, bytes, artifact_type, manifest_bytes, total < everything FROM (
    SELECT m.id, m.digest, m.media_type, octet_length(m.manifest_bytes) AS bytes, m.artifact_type,
           m.manifest_bytes, sum(octet_length(m.manifest_bytes)) OVER (ORDER BY m.id) AS total,
           sum(octet_length(m.manifest_bytes)) OVER () AS everything
    FROM manifest m
    WHERE m.repository_id = {REPOSITORY_ID} AND m.subject = %(subject)s AND m.deleted_at IS NULL
      AND m.id > %(after)s
) AS referrer
WHERE total <= %(maximum)s OR total = bytes
ORDER BY id
"""


@dataclass(frozen=True)
class Referrer:
    """A descriptor of a manifest that names a subject."""

    digest: str
    media_type: str
    size: int
    artifact_type: str | None
    annotations: dict[str, str] | None

    def descriptor(self) -> dict[str, Any]:
        """Return the descriptor as it stands in the list."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        if self.annotations:
            found["annotations"] = self.annotations
        return found


class Referrers:
    """The referrers of all repositories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, name: RepositoryName, subject: Digest, artifact_type: str | None, after: int
    ) -> tuple[list[Referrer], int | None]:
        """Return who refers to SUBJECT, which need not exist; of ARTIFACT_TYPE only, if given.

        Begins behind AFTER, and returns with the list the AFTER of the next, None at the end.
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
        found = [_referrer(*row[1:6]) for row in rows]
        if artifact_type is not None:
            found = [referrer for referrer in found if referrer.artifact_type == artifact_type]
        more = bool(rows) and rows[-1][6]
        return found, rows[-1][0] if more else None


def _referrer(
    digest: str, media_type: str, size: int, artifact_type: str | None, content: memoryview
) -> Referrer:
    """Make the descriptor. Without an artifact type, an image's is its config's media type."""
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

"""The referrers of an image and, in turn, their referrers: signatures of an SBOM, for example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_DEPTH_MAXIMUM = 4
_REFERRERS_MAXIMUM = 200
# Bytes of manifests that are read for their annotations.
_BYTES_MAXIMUM = 4 * 2**20
_TEXT_MAXIMUM = 4096

# Parameters of `tree_tables`, in addition to those of the repository's name.
TREE_PARAMETERS = {
    "depth": _DEPTH_MAXIMUM,
    "limit": _REFERRERS_MAXIMUM + 1,
    "bytes": _BYTES_MAXIMUM,
}


def tree_tables(subject: str) -> str:
    """Return common tables of a recursive query; `referrer` lists referrers level by level.

    Its columns are depth and id, which give the order, and those of `referrers_of`. The content is
    read while the bytes of all do not exceed the limit.

    Args:
        subject: An SQL expression of the digest.
    """
    return f"""
repository_id AS (SELECT {REPOSITORY_ID} AS id),
tree (id, digest, subject, depth) AS (
    SELECT m.id, m.digest, m.subject, 1 FROM manifest m
    WHERE m.repository_id = (SELECT id FROM repository_id) AND m.subject = {subject}
      AND m.deleted_at IS NULL
    UNION ALL
    SELECT m.id, m.digest, m.subject, tree.depth + 1 FROM tree JOIN manifest m
      ON m.repository_id = (SELECT id FROM repository_id) AND m.subject = tree.digest
     AND m.deleted_at IS NULL
    WHERE tree.depth < %(depth)s
), first AS (
    SELECT * FROM (SELECT * FROM tree LIMIT %(limit)s) AS bounded ORDER BY depth, id
), sized AS (
    SELECT first.depth, first.id, m.digest, m.subject, m.media_type, m.artifact_type,
           octet_length(m.manifest_bytes) AS size, m.manifest_bytes,
           sum(octet_length(m.manifest_bytes)) OVER (ORDER BY first.depth, first.id) AS total
    FROM first JOIN manifest m ON m.id = first.id
), referrer AS (
    SELECT depth, id, digest, subject, media_type, artifact_type, size,
           CASE WHEN total <= %(bytes)s THEN manifest_bytes END AS content
    FROM sized
)
"""


_TREE = f"""
WITH RECURSIVE {tree_tables("%(digest)s")}
SELECT digest, subject, media_type, artifact_type, size, content FROM referrer ORDER BY depth, id
"""


@dataclass(frozen=True)
class ReferrerNode:
    """A manifest with a subject. The annotations are empty if they were not read."""

    digest: str
    subject: str
    media_type: str
    artifact_type: str | None
    size: int
    annotations: dict[str, str]


@dataclass(frozen=True)
class Referrers:
    """Referrers, those of the image first; `complete` unless there are more."""

    referrers: list[ReferrerNode]
    complete: bool


class ReferrerTree:
    """The referrers of images, in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, name: RepositoryName, subject: Digest) -> Referrers:
        """Return up to 200 referrers of an image, of four levels.

        Args:
            name: The repository.
            subject: The digest of the image, which need not exist.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        values = {**name_parameters(name), "digest": str(subject), **TREE_PARAMETERS}
        return referrers_of(self._database.read(_TREE, values))


def referrers_of(rows: Sequence[Sequence[Any]]) -> Referrers:
    """Return the referrers in rows of digest, subject, types, size and content, in their order."""
    nodes = [_node(row) for row in rows[:_REFERRERS_MAXIMUM]]
    return Referrers(nodes, complete=len(rows) <= _REFERRERS_MAXIMUM)


def _node(row: Sequence[Any]) -> ReferrerNode:
    """Build a node; the default artifact type is the media type of the configuration."""
    digest, subject, media_type, artifact_type, size, content = row
    document: dict[str, Any] = json.loads(bytes(content)) if content is not None else {}
    config, annotations = document.get("config"), document.get("annotations")
    if artifact_type is None and isinstance(config, dict):
        artifact_type = config.get("mediaType")
    return ReferrerNode(
        digest,
        subject,
        media_type,
        artifact_type if isinstance(artifact_type, str) else None,
        size,
        {
            key[:_TEXT_MAXIMUM]: value[:_TEXT_MAXIMUM]
            for key, value in (annotations if isinstance(annotations, dict) else {}).items()
            if isinstance(value, str)
        },
    )

"""Labels that users add to manifests."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.registry.errors import ManifestUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_MANIFEST_ID = f"""(SELECT m.id FROM manifest m WHERE m.repository_id = {REPOSITORY_ID}
                AND m.digest = %(digest)s AND m.deleted_at IS NULL)"""


class LabelUnknown(Exception):
    """The manifest has no such label."""


@dataclass(frozen=True)
class Label:
    """A label of a manifest."""

    uuid: UUID
    key: str
    value: str
    media_type: str


class Labels:
    """The labels of all manifests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self, name: RepositoryName, digest: str, prefix: str = "", uuid: UUID | None = None
    ) -> list[Label]:
        """Return labels of a manifest, oldest first.

        Args:
            name: The repository.
            digest: The manifest's digest.
            prefix: The beginning of the labels' keys.
            uuid: The id of a label, to return that one only.
        """
        rows = self._database.read(
            f"""
            SELECT uuid, key, value, media_type FROM manifestlabel
            WHERE manifest_id = {_MANIFEST_ID} AND starts_with(key, %(prefix)s)
              AND (%(uuid)s IS NULL OR uuid = %(uuid)s)
            ORDER BY id
            """,
            {**name_parameters(name), "digest": digest, "prefix": prefix, "uuid": uuid},
        )
        return [Label(*row) for row in rows]

    def add(
        self, name: RepositoryName, digest: str, key: str, value: str, media_type: str
    ) -> Label:
        """Add a label to a manifest.

        Raises:
            ManifestUnknown: The repository has no such manifest.
        """
        rows = self._database.run(
            f"""
            INSERT INTO manifestlabel (manifest_id, key, value, media_type)
            SELECT manifest.id, %(key)s, %(value)s, %(media_type)s
            FROM (SELECT {_MANIFEST_ID} AS id) AS manifest WHERE manifest.id IS NOT NULL
            ON CONFLICT (manifest_id, key, value) DO UPDATE SET media_type = EXCLUDED.media_type
            RETURNING uuid, key, value, media_type
            """,
            {
                **name_parameters(name),
                "digest": digest,
                "key": key,
                "value": value,
                "media_type": media_type,
            },
        )
        if not rows:
            raise ManifestUnknown(f"'{name}' has no manifest '{digest}'")
        return Label(*rows[0])

    def delete(self, name: RepositoryName, digest: str, uuid: UUID) -> Label:
        """Remove a label and return it.

        Raises:
            LabelUnknown: The manifest has no such label.
        """
        rows = self._database.run(
            f"""
            DELETE FROM manifestlabel WHERE uuid = %(uuid)s AND manifest_id = {_MANIFEST_ID}
            RETURNING uuid, key, value, media_type
            """,
            {**name_parameters(name), "digest": digest, "uuid": uuid},
        )
        if not rows:
            raise LabelUnknown(f"the manifest has no label {uuid}")
        return Label(*rows[0])

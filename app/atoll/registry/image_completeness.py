"""Report at which locations the image behind a tag or a digest is complete."""

from __future__ import annotations

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.completeness import Completeness, CompletenessQuery
from atoll.registry.errors import ManifestUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

# Look up a manifest by its digest or by a tag.
_MANIFEST_ID = f"""
SELECT m.id FROM manifest m
WHERE m.repository_id = {REPOSITORY_ID} AND m.deleted_at IS NULL AND (
    m.digest = %(digest)s OR m.id IN (
        SELECT t.manifest_id FROM tag t
        WHERE t.repository_id = m.repository_id AND t.name = %(tag)s AND {alive("t")}))
"""


class ImageCompleteness:
    """Report the completeness of images by their names.

    Args:
        required: the default locations.
    """

    def __init__(self, database: Database, required: list[str]) -> None:
        self._database = database
        self._query = CompletenessQuery(database, required)

    def of(self, name: RepositoryName, reference: str) -> Completeness:
        """Return the completeness of an image, in two round trips.

        Args:
            name: the image's repository.
            reference: a tag or a digest.

        Raises:
            ManifestUnknown: the repository has no such tag or manifest.
        """
        by_digest = Digest.is_digest(reference)
        rows = self._database.read(
            _MANIFEST_ID,
            {
                **name_parameters(name),
                "digest": reference if by_digest else None,
                "tag": None if by_digest else reference,
            },
        )
        found = self._query.of_manifest(int(rows[0][0])) if rows else None
        if found is None:
            raise ManifestUnknown(f"'{name}' has no manifest '{reference}'")
        return found

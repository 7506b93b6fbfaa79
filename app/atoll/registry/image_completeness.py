"""Report at which locations the images behind tags and digests are complete."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.completeness import Completeness, CompletenessQuery
from atoll.registry.errors import ManifestUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

_BY_DIGEST = f"""
SELECT m.digest, m.id FROM manifest m
WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = %(digest)s AND m.deleted_at IS NULL
"""

_BY_TAG = f"""
SELECT t.name, m.id FROM tag t JOIN manifest m ON m.id = t.manifest_id
WHERE t.repository_id = {REPOSITORY_ID} AND t.name = ANY(%(tags)s::text[]) AND {alive("t")}
  AND m.deleted_at IS NULL
"""


class ImageCompleteness:
    """Report the completeness of images by their names, each time in one round trip.

    Args:
        required: the default locations.
    """

    def __init__(self, database: Database, required: list[str]) -> None:
        self._by_digest = CompletenessQuery(database, required, _BY_DIGEST)
        self._by_tag = CompletenessQuery(database, required, _BY_TAG)

    def of(self, name: RepositoryName, reference: str) -> Completeness:
        """Return the completeness of an image.

        Args:
            name: the image's repository.
            reference: a tag or a digest.

        Raises:
            ManifestUnknown: the repository has no such tag or manifest.
        """
        if Digest.is_digest(reference):
            found = self._by_digest.run({**name_parameters(name), "digest": reference})
        else:
            found = self.of_tags(name, [reference])
        if reference not in found:
            raise ManifestUnknown(f"'{name}' has no manifest '{reference}'")
        return found[reference]

    def of_tags(self, name: RepositoryName, tags: Sequence[str]) -> dict[str, Completeness]:
        """Return the completeness of the images of tags, without tags that do not exist.

        Args:
            name: the repository.
            tags: the names of the tags.
        """
        return self._by_tag.run({**name_parameters(name), "tags": list(tags)})

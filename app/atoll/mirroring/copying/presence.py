"""Report which images of an upstream a mirror has already."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from atoll.db.pool import Database
from atoll.mirroring.rules.platforms import selected_digests
from atoll.names import RepositoryName
from atoll.placement.placements import HAS_GOOD_COPY
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import alive

# Common tables: the manifests below each root (`named`), those that its indexes list and that
# cannot be pulled (`gap`), and the roots of which a blob has no copy (`incomplete`). Several tags
# may have one root, and several images one blob; each is looked up once. Expects `root (key, id)`.
_BELOW = f"""
named AS (
    SELECT DISTINCT id AS root, id FROM root
    UNION
    SELECT named.root, c.child_manifest_id
    FROM named JOIN manifestchild c ON c.manifest_id = named.id
    JOIN manifest child ON child.id = c.child_manifest_id AND child.deleted_at IS NULL
), gap AS (
    SELECT named.root, named.id, a.digest
    FROM named JOIN manifestabsent a ON a.manifest_id = named.id
    UNION ALL
    SELECT named.root, named.id, child.digest
    FROM named JOIN manifestchild c ON c.manifest_id = named.id
    JOIN manifest child ON child.id = c.child_manifest_id AND child.deleted_at IS NOT NULL
), gaps AS MATERIALIZED (
    SELECT gap.root, gap.id, array_agg(gap.digest) AS digests FROM gap GROUP BY gap.root, gap.id
), blob AS MATERIALIZED (
    SELECT DISTINCT mb.blob_id AS id FROM named JOIN manifestblob mb ON mb.manifest_id = named.id
), lost AS MATERIALIZED (
    SELECT s.id FROM blob s WHERE NOT {HAS_GOOD_COPY}
), incomplete AS MATERIALIZED (
    SELECT DISTINCT named.root
    FROM named JOIN manifestblob mb ON mb.manifest_id = named.id JOIN lost ON lost.id = mb.blob_id
)"""

# Return for each root whether all blobs have a copy, and for each index with gaps their digests and
# the index, if a filter may permit them.
_STATE = """
SELECT root.key, root.id <> ALL (SELECT incomplete.root FROM incomplete), gaps.digests,
       CASE WHEN gaps.digests IS NOT NULL AND %(filtered)s
            THEN (SELECT manifest_bytes FROM manifest WHERE id = gaps.id) END
FROM root LEFT JOIN gaps ON gaps.root = root.id
"""

_TAGS = f"""
WITH RECURSIVE root AS (
    SELECT wanted.tag AS key, m.id
    FROM unnest(%(tags)s::text[], %(digests)s::text[]) AS wanted (tag, digest)
    JOIN tag t ON t.repository_id = {REPOSITORY_ID} AND t.name = wanted.tag AND {alive("t")}
    JOIN manifest m ON m.id = t.manifest_id
    WHERE m.digest = wanted.digest AND m.deleted_at IS NULL
), {_BELOW}
{_STATE}
"""

_MANIFESTS = f"""
WITH RECURSIVE root AS (
    SELECT m.digest AS key, m.id FROM manifest m
    WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = ANY(%(digests)s::text[])
      AND m.deleted_at IS NULL
), {_BELOW}
{_STATE}
"""


class Presence:
    """Reports which tags and manifests of a repository are complete.

    An image is complete if each blob has a copy at some location, and its repository has each
    manifest that it lists, except those that the filter of architectures leaves out.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def unchanged(
        self, name: RepositoryName, tags: Mapping[str, str], architectures: Collection[str]
    ) -> set[str]:
        """Return the tags that have a given digest and a complete image, with one statement.

        Args:
            name: The repository.
            tags: The digest of each tag.
            architectures: The architectures that a mirror copies; all if empty.
        """
        values = {"tags": list(tags), "digests": list(tags.values())}
        return self._complete(_TAGS, name, values, architectures)

    def complete_manifests(
        self, name: RepositoryName, digests: Sequence[str], architectures: Collection[str]
    ) -> set[str]:
        """Return the digests of the complete manifests among the given ones."""
        if not digests:
            return set()
        return self._complete(_MANIFESTS, name, {"digests": list(digests)}, architectures)

    def _complete(
        self,
        statement: str,
        name: RepositoryName,
        values: Mapping[str, object],
        architectures: Collection[str],
    ) -> set[str]:
        rows = self._database.read(
            statement, {**name_parameters(name), **values, "filtered": bool(architectures)}
        )
        incomplete = {
            key
            for key, has_blobs, gaps, index in rows
            if not has_blobs or (gaps and not _permits(index, gaps, architectures))
        }
        return {row[0] for row in rows} - incomplete


def _permits(index: memoryview | None, gaps: list[str], architectures: Collection[str]) -> bool:
    """Return whether a filter leaves out all manifests that an index lacks."""
    return index is not None and selected_digests(bytes(index), architectures).isdisjoint(gaps)

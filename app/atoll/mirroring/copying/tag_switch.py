"""Point many tags of a mirror to their new manifests, or end them, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg2.extensions

from atoll.db.advisory_locks import LARGE_MANIFEST, lock
from atoll.db.pool import Database
from atoll.mirroring.copying.copy_errors import ContentCollected, NotAMirror
from atoll.names import RepositoryName
from atoll.notifications.subscriptions import ENQUEUE_PUSH_NOTIFICATIONS
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tag_locks import lock_references
from atoll.registry.tags import NOW_MS, alive

# Advisory locks that any number of concurrent transactions may hold, and the maximum for one of
# them at a time: PostgreSQL's lock table is shared. More tags lock the table of tags instead.
_CONCURRENT_LOCKS, _LOCKS_MAXIMUM = 48, 1000

_LOCK_TABLE = "LOCK TABLE tag IN SHARE ROW EXCLUSIVE MODE"
_LOCK_TAGS = f"""
SELECT {lock(LARGE_MANIFEST)} WHERE cardinality(%(tags)s::text[]) > {_CONCURRENT_LOCKS};
{lock_references("%(repository_id)s", exclusive="%(tags)s::text[]", shared="ARRAY[]::text[]")}
"""

# Find the repository of a mirror, and keep its state until the end of the transaction.
_LOCK_REPOSITORY = f"""
SELECT r.id FROM repository r WHERE r.id = {REPOSITORY_ID} AND r.state = 'MIRROR' FOR SHARE
"""

# Lock the manifests, so that none of them is collected, and return their digests.
_LOCK_MANIFESTS = """
SELECT m.digest FROM manifest m
WHERE m.repository_id = %(repository_id)s AND m.digest = ANY(%(digests)s::text[])
  AND m.deleted_at IS NULL
ORDER BY m.id FOR KEY SHARE OF m
"""

# End the current rows of tags that change or that would expire, insert new rows, and return the
# tags that changed.
_SWITCH = f"""
UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms)
FROM unnest(%(tags)s::text[], %(digests)s::text[]) AS new (tag, digest), manifest m
WHERE tag.repository_id = %(repository_id)s AND tag.name = new.tag
  AND tag.lifetime_end_ms IS NULL AND m.id = tag.manifest_id
  AND (m.digest <> new.digest OR tag.expires_ms IS NOT NULL);
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
SELECT m.repository_id, new.tag, m.id, {NOW_MS}
FROM unnest(%(tags)s::text[], %(digests)s::text[]) AS new (tag, digest)
JOIN manifest m ON m.repository_id = %(repository_id)s AND m.digest = new.digest
ON CONFLICT (repository_id, name) WHERE lifetime_end_ms IS NULL DO NOTHING
RETURNING name, (SELECT digest FROM manifest WHERE id = manifest_id)
"""

_END = f"""
UPDATE tag SET lifetime_end_ms = {NOW_MS}
WHERE repository_id = %(repository_id)s AND id = ANY(%(rows)s::bigint[]) AND {alive("tag")}
RETURNING name, (SELECT digest FROM manifest WHERE id = manifest_id)
"""

_LOG = """
INSERT INTO logentry (kind, namespace, repository, performer, metadata)
SELECT %(kind)s, %(namespace)s, %(name)s, %(robot)s, jsonb_build_object(
    'namespace', %(namespace)s::text, 'repo', %(name)s::text, 'tag', changed.tag,
    'manifest_digest', changed.digest)
FROM unnest(%(tags)s::text[], %(digests)s::text[]) AS changed (tag, digest)
"""


class ManifestsMissing(ContentCollected):
    """Manifests were deleted before their tags changed; these must be copied again.

    Attributes:
        tags: The tags of these manifests. No tag was changed.
    """

    def __init__(self, tags: list[str]) -> None:
        super().__init__(f"the images of {len(tags)} tags were deleted before the tags changed")
        self.tags = tags


class TagSwitch:
    """Changes tags of mirrors in the name of their robots.

    The label `quay.expires-after` has no effect: a mirror has a tag as long as its upstream.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def switch(self, name: RepositoryName, tags: Mapping[str, str], robot: str) -> list[str]:
        """Point tags to manifests, all or none; see `switch_in`."""
        with self._database.transaction() as cursor:
            return self.switch_in(cursor, name, tags, robot)

    def end(self, name: RepositoryName, tags: Mapping[str, int], robot: str) -> list[str]:
        """End tags; see `end_in`."""
        with self._database.transaction() as cursor:
            return self.end_in(cursor, name, tags, robot)

    def switch_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, str],
        robot: str,
    ) -> list[str]:
        """Point tags to manifests of the repository, in a transaction of the caller.

        Writes the log entries and notifications of a push for the tags that change.

        Args:
            cursor: A cursor in a transaction.
            name: The repository.
            tags: The digest of each tag.
            robot: The robot of the mirror.

        Returns:
            The tags that changed.

        Raises:
            NotAMirror: The repository is not in the state MIRROR.
            ManifestsMissing: The repository does not have some of the manifests.
        """
        if not tags:
            return []
        values = self._lock(cursor, name, list(tags), robot)
        values["digests"] = list(tags.values())
        cursor.execute(_LOCK_MANIFESTS, values)
        present = {row[0] for row in cursor.fetchall()}
        if missing := [tag for tag, digest in tags.items() if digest not in present]:
            raise ManifestsMissing(missing)
        cursor.execute(_SWITCH, values)
        changed = self._log(cursor, values, "push_repo")
        if changed:
            cursor.execute(ENQUEUE_PUSH_NOTIFICATIONS, {**values, "tags": changed})
        return changed

    def end_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, int],
        robot: str,
    ) -> list[str]:
        """End tags, in a transaction of the caller. They stay in the tag history.

        Args:
            cursor: A cursor in a transaction.
            name: The repository.
            tags: The keys of the rows of the tags. A tag with another row was changed by someone
                else meanwhile, and does not end.
            robot: The robot of the mirror.

        Returns:
            The tags that ended.

        Raises:
            NotAMirror: The repository is not in the state MIRROR.
        """
        if not tags:
            return []
        values = self._lock(cursor, name, list(tags), robot)
        values["rows"] = list(tags.values())
        cursor.execute(_END, values)
        return self._log(cursor, values, "delete_tag")

    def _lock(
        self, cursor: psycopg2.extensions.cursor, name: RepositoryName, tags: list[str], robot: str
    ) -> dict[str, object]:
        """Lock the tags and then the state of the repository; return common parameters."""
        values: dict[str, object] = {**name_parameters(name), "tags": tags, "robot": robot}
        if name.id is None:
            raise ValueError("the repository must be bound to its id")
        values["repository_id"] = name.id
        cursor.execute(_LOCK_TABLE if len(tags) > _LOCKS_MAXIMUM else _LOCK_TAGS, values)
        cursor.execute(_LOCK_REPOSITORY, values)
        if cursor.fetchone() is None:
            raise NotAMirror(f"the repository '{name}' is not a mirror")
        return values

    def _log(
        self, cursor: psycopg2.extensions.cursor, values: Mapping[str, object], kind: str
    ) -> list[str]:
        """Write log entries for the tags that a statement returned, and return these."""
        rows = cursor.fetchall()
        changed = [row[0] for row in rows]
        if changed:
            digests = [row[1] for row in rows]
            cursor.execute(_LOG, {**values, "kind": kind, "tags": changed, "digests": digests})
        return changed

"""Delete repositories and namespaces, and rename namespaces, together with their cached data.

A name can be reused immediately, so nothing that is cached under it may outlive its repository.

The content of large repositories is deleted in bounded batches first. This is not atomic: after an
interruption, the repository still exists with a part of its manifests, and the next request
continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from atoll.audit.log import Entry, with_log_entry
from atoll.auth import users
from atoll.db.advisory_locks import LARGE_DELETION, lock
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.names import RepositoryName
from atoll.registry.blob_rights import right_cache_key
from atoll.registry.errors import DeletionUnfinished, RepositoryUnknown
from atoll.registry.manifest_cache import manifest_cache_keys
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_Value = TypeVar("_Value")

# Rows that one statement deletes, which takes a fraction of its time limit.
_BATCH = 1000
# Repositories whose cache keys one statement reads, or that one statement deletes.
_REPOSITORIES = 50
# Seconds after which a request stops deleting.
_TIME_LIMIT = 60.0
# Seconds to wait for rows that are locked.
_PAUSE = 0.1

# List the repositories of a namespace, or one of them.
_LIST_REPOSITORIES = """
SELECT r.id, n.username || '/' || r.name
FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE n.username = %(namespace)s AND (%(name)s::text IS NULL OR r.name = %(name)s)
  AND (%(organization)s::boolean IS NULL
       OR (n.organization = %(organization)s AND n.robot_owner_id IS NULL))
ORDER BY r.id
"""

# The planner overestimates the rows of these statements and would scan whole tables.
_BY_INDEX = "".join(
    f"SET LOCAL enable_{way} = off;" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
)

_TABLES = ("manifest", "uploadedblob", "tagpullstatistics", "manifestpullstatistics")

# Count the rows of the repositories, in each table up to one more than a batch.
_SIZE = f"{_BY_INDEX} SELECT " + " + ".join(
    f"""(
    SELECT count(*) FROM (SELECT FROM unnest(%(ids)s::bigint[]) AS repository (id)
                          JOIN {table} t ON t.repository_id = repository.id
                          LIMIT %(batch)s + 1) AS part)"""
    for table in _TABLES
)

# Delete a batch of manifests, rights to blobs and pull statistics. Tags, labels and others are
# deleted with their manifest by cascade. The lock prevents deadlocks between concurrent requests;
# rows that a push has locked are left to the next batch. Returns the digests whose cache keys must
# be deleted.
_EMPTY = f"""
{_BY_INDEX}
SELECT {lock(LARGE_DELETION)};
WITH repository AS (SELECT unnest(%(ids)s::bigint[]) AS id), manifest_batch AS MATERIALIZED (
    SELECT m.id, m.repository_id, m.digest
    FROM repository JOIN manifest m ON m.repository_id = repository.id
    LIMIT %(batch)s FOR UPDATE OF m SKIP LOCKED
), referenced_blobs AS MATERIALIZED (
    SELECT DISTINCT mb.repository_id, mb.blob_id
    FROM manifest_batch JOIN manifestblob mb ON mb.manifest_id = manifest_batch.id
), right_batch AS MATERIALIZED (
    SELECT u.repository_id, u.blob_id
    FROM repository JOIN uploadedblob u ON u.repository_id = repository.id
    LIMIT %(batch)s FOR UPDATE OF u SKIP LOCKED
), deleted_manifests AS (
    DELETE FROM manifest m USING manifest_batch WHERE m.id = manifest_batch.id
), deleted_rights AS (
    DELETE FROM uploadedblob u USING right_batch
    WHERE u.repository_id = right_batch.repository_id AND u.blob_id = right_batch.blob_id
), deleted_tag_statistics AS (
    DELETE FROM tagpullstatistics t USING (
        SELECT s.repository_id, s.tag_name
        FROM repository JOIN tagpullstatistics s ON s.repository_id = repository.id
        LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED) AS batch
    WHERE t.repository_id = batch.repository_id AND t.tag_name = batch.tag_name
), deleted_manifest_statistics AS (
    DELETE FROM manifestpullstatistics t USING (
        SELECT s.repository_id, s.manifest_digest
        FROM repository JOIN manifestpullstatistics s ON s.repository_id = repository.id
        LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED) AS batch
    WHERE t.repository_id = batch.repository_id
      AND t.manifest_digest = batch.manifest_digest
)
SELECT repository_id, digest, NULL FROM manifest_batch
UNION ALL
SELECT blob.repository_id, NULL, s.content_checksum
FROM (SELECT * FROM referenced_blobs UNION SELECT * FROM right_batch) AS blob
JOIN imagestorage s ON s.id = blob.blob_id
"""

# List a page of the manifests and blobs of each repository, whose keys may be cached. The page
# begins after the digest and the blob at which the repository's previous page ended.
_CACHED = f"""
{_BY_INDEX}
SELECT repository.id,
       array(SELECT m.digest FROM manifest m
             WHERE m.repository_id = repository.id AND m.digest > repository.digest
             ORDER BY m.digest LIMIT %(batch)s),
       array(SELECT s.id || ' ' || s.content_checksum FROM imagestorage s JOIN (
                 (SELECT blob_id FROM uploadedblob u
                  WHERE u.repository_id = repository.id AND u.blob_id > repository.blob
                  ORDER BY blob_id LIMIT %(batch)s)
                 UNION
                 (SELECT DISTINCT blob_id FROM manifestblob b
                  WHERE b.repository_id = repository.id AND b.blob_id > repository.blob
                  ORDER BY blob_id LIMIT %(batch)s)
                 ORDER BY blob_id LIMIT %(batch)s) AS page ON page.blob_id = s.id
             ORDER BY s.id)
FROM unnest(%(ids)s::bigint[], %(digests)s::text[], %(blobs)s::bigint[])
     AS repository (id, digest, blob)
"""

_DELETE_REPOSITORIES = "DELETE FROM repository WHERE id = ANY(%(ids)s)"

# Repositories, robots and teams are deleted by cascade.
_DELETE_NAMESPACE = """
DELETE FROM "user" WHERE username = %(name)s AND organization = %(organization)s
AND robot_owner_id IS NULL RETURNING id
"""


class NamespaceDeletion:
    """Deletes repositories and namespaces, and renames namespaces."""

    def __init__(
        self,
        database: Database,
        redis: SharedRedis,
        *,
        batch: int = _BATCH,
        time_limit: float = _TIME_LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._redis = redis
        self._batch = batch
        self._time_limit = time_limit
        self._monotonic = monotonic

    def delete_repository(self, name: RepositoryName, entry: Entry) -> None:
        """Delete a repository with its content, and write a log entry.

        Uploads to it end; their objects are deleted in the background.

        Raises:
            RepositoryUnknown: There is no such repository.
            DeletionUnfinished: The time limit of a request was reached.
        """

        def delete() -> None:
            rows = self._database.run(
                with_log_entry(f"DELETE FROM repository WHERE id = {REPOSITORY_ID} RETURNING id"),
                {**name_parameters(name), **entry.parameters()},
            )
            if not rows:
                raise RepositoryUnknown(f"there is no repository '{name}'")

        repositories = self._repositories(name.namespace, name.name)
        self._empty(str(name), repositories, self._deadline())
        self._delete(repositories, delete)

    def delete_namespace(self, name: str, entry: Entry, *, organization: bool) -> None:
        """Delete a user or organization with all repositories, and write a log entry.

        Raises:
            UserUnknown: There is no such user or organization.
            DeletionUnfinished: The time limit of a request was reached.
        """

        def delete() -> None:
            rows = self._database.run(
                with_log_entry(_DELETE_NAMESPACE),
                {"name": name, "organization": organization, **entry.parameters()},
            )
            if not rows:
                raise users.unknown_namespace(name, organization=organization)

        repositories = self._repositories(name, None, organization=organization)
        deadline = self._deadline()
        self._empty(name, repositories, deadline)
        while len(repositories) > _REPOSITORIES:
            self._require_time(name, deadline)
            batch = _first(repositories, _REPOSITORIES)
            statement = partial(self._database.run, _DELETE_REPOSITORIES, {"ids": list(batch)})
            self._delete(batch, statement)
            repositories = {k: v for k, v in repositories.items() if k not in batch}
        self._delete(repositories, delete)

    def rename_namespace(self, name: str, new_name: str, *, organization: bool) -> None:
        """Rename a user or organization like `users.rename_namespace`, and invalidate the cache."""
        repositories = self._repositories(name, None)
        users.rename_namespace(self._database, name, new_name, organization=organization)
        for keys in self._cached(repositories):
            self._redis.delete(*keys)

    def _repositories(
        self, namespace: str, name: str | None, *, organization: bool | None = None
    ) -> dict[int, str]:
        """Return the full names of a namespace's repositories, or of one of them, by id."""
        values = {"namespace": namespace, "name": name, "organization": organization}
        return {row[0]: row[1] for row in self._database.read(_LIST_REPOSITORIES, values)}

    def _deadline(self) -> float:
        return self._monotonic() + self._time_limit

    def _require_time(self, name: str, deadline: float) -> None:
        if self._monotonic() > deadline:
            raise DeletionUnfinished(name)

    def _empty(self, name: str, repositories: dict[int, str], deadline: float) -> None:
        """Delete the content of repositories until one statement can delete the rest."""
        values = {"ids": list(repositories), "batch": self._batch}
        while self._database.read(_SIZE, values)[0][0] > self._batch:
            self._require_time(name, deadline)
            rows = self._database.run(_EMPTY, values)
            if not rows:
                # Only pull statistics are left, or all rows are locked.
                time.sleep(_PAUSE)
            self._redis.delete(
                *(
                    key
                    for repository, digest, blob in rows
                    for key in (
                        manifest_cache_keys(repositories[repository], digest)
                        if digest is not None
                        else (right_cache_key(repositories[repository], blob),)
                    )
                )
            )

    def _delete(self, repositories: dict[int, str], delete: Callable[[], object]) -> None:
        """Call `delete`, and then delete the cached data of the repositories."""
        keys = [key for page in self._cached(repositories) for key in page]
        delete()
        self._redis.delete(*keys)

    def _cached(self, repositories: dict[int, str]) -> Iterator[list[str]]:
        """Yield the cache keys of the repositories' content, in pages."""
        pages = dict.fromkeys(repositories, ("", 0))
        while pages:
            batch = _first(pages, _REPOSITORIES)
            rows = self._database.read(
                _CACHED,
                {
                    "ids": list(batch),
                    "digests": [digest for digest, _ in batch.values()],
                    "blobs": [blob for _, blob in batch.values()],
                    "batch": self._batch,
                },
            )
            for repository, digests, blobs in rows:
                name, (digest, blob) = repositories[repository], batch[repository]
                blob_checksums = [text.split(" ") for text in blobs]
                yield [
                    *(key for one in digests for key in manifest_cache_keys(name, one)),
                    *(right_cache_key(name, checksum) for _, checksum in blob_checksums),
                ]
                if digests:
                    digest = digests[-1]
                if blob_checksums:
                    blob = int(blob_checksums[-1][0])
                pages[repository] = (digest, blob)
                if max(len(digests), len(blob_checksums)) < self._batch:
                    del pages[repository]


def _first(values: dict[int, _Value], count: int) -> dict[int, _Value]:
    return dict(islice(values.items(), count))

"""Delete repositories and namespaces, or rename these, with what is cached under their names.

A name can be used again at once, so nothing that is cached under it may outlive its repository.

What has many rows is emptied in bounded batches before it is deleted. That is not atomic: if it is
interrupted, the repository is still there with a part of its manifests, and the next request
continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from atoll.audit.log import Entry, logged
from atoll.auth import users
from atoll.db.advisory_locks import LARGE_DELETION, lock
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.names import RepositoryName
from atoll.registry.blobs import right_cache_key
from atoll.registry.errors import DeletionUnfinished, RepositoryUnknown
from atoll.registry.manifests import manifest_cache_keys
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_Value = TypeVar("_Value")

# Rows that one statement deletes: far less than its time limit allows.
_BATCH = 1000
# Repositories whose cached keys one statement reads, or that one statement deletes.
_REPOSITORIES = 50
# Seconds for which one request deletes.
_PATIENCE = 60.0
_PAUSE = 0.1

_REPOSITORIES_OF = """
SELECT r.id, n.username || '/' || r.name
FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE n.username = %(namespace)s AND (%(name)s::text IS NULL OR r.name = %(name)s)
  AND (%(organization)s::boolean IS NULL
       OR (n.organization = %(organization)s AND n.robot_owner_id IS NULL))
ORDER BY r.id
"""

# The planner does not know how few rows these statements touch, and would read whole tables.
_BY_INDEX = "".join(
    f"SET LOCAL enable_{way} = off;" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
)

_TABLES = ("manifest", "uploadedblob", "tagpullstatistics", "manifestpullstatistics")

# At most one more than a batch for each table: enough to see whether there are many.
_SIZE = f"{_BY_INDEX} SELECT " + " + ".join(
    f"""(
    SELECT count(*) FROM (SELECT FROM unnest(%(ids)s::bigint[]) AS repository (id)
                          JOIN {table} t ON t.repository_id = repository.id
                          LIMIT %(batch)s + 1) AS part)"""
    for table in _TABLES
)

# Tags, labels and the like are deleted with their manifest. The lock keeps two requests, which may
# be for the same repository, from deadlocking; rows that a push holds are left for later.
_EMPTY = f"""
{_BY_INDEX}
SELECT {lock(LARGE_DELETION)};
WITH repository AS (SELECT unnest(%(ids)s::bigint[]) AS id), part AS MATERIALIZED (
    SELECT m.id, m.repository_id, m.digest
    FROM repository JOIN manifest m ON m.repository_id = repository.id
    LIMIT %(batch)s FOR UPDATE OF m SKIP LOCKED
), named AS MATERIALIZED (
    SELECT DISTINCT mb.repository_id, mb.blob_id
    FROM part JOIN manifestblob mb ON mb.manifest_id = part.id
), lent AS MATERIALIZED (
    SELECT u.repository_id, u.blob_id
    FROM repository JOIN uploadedblob u ON u.repository_id = repository.id
    LIMIT %(batch)s FOR UPDATE OF u SKIP LOCKED
), manifests AS (
    DELETE FROM manifest m USING part WHERE m.id = part.id
), rights AS (
    DELETE FROM uploadedblob u USING lent
    WHERE u.repository_id = lent.repository_id AND u.blob_id = lent.blob_id
), tag_statistics AS (
    DELETE FROM tagpullstatistics t USING (
        SELECT s.repository_id, s.tag_name
        FROM repository JOIN tagpullstatistics s ON s.repository_id = repository.id
        LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED) AS some_of
    WHERE t.repository_id = some_of.repository_id AND t.tag_name = some_of.tag_name
), manifest_statistics AS (
    DELETE FROM manifestpullstatistics t USING (
        SELECT s.repository_id, s.manifest_digest
        FROM repository JOIN manifestpullstatistics s ON s.repository_id = repository.id
        LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED) AS some_of
    WHERE t.repository_id = some_of.repository_id
      AND t.manifest_digest = some_of.manifest_digest
)
SELECT part.repository_id, part.digest, NULL FROM part
UNION ALL
SELECT blob.repository_id, NULL, s.content_checksum
FROM (SELECT * FROM named UNION SELECT * FROM lent) AS blob
JOIN imagestorage s ON s.id = blob.blob_id
"""

# A page for each repository, after the digest and the blob that its last page ended with.
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


class Removal:
    """Deletes and renames repositories and namespaces."""

    def __init__(
        self,
        database: Database,
        redis: SharedRedis,
        *,
        batch: int = _BATCH,
        patience: float = _PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._redis = redis
        self._batch = batch
        self._patience = patience
        self._monotonic = monotonic

    def repository(self, name: RepositoryName, entry: Entry) -> None:
        """Delete a repository with its content, and keep ENTRY in the log.

        Uploads to it end; their objects are deleted in the background.

        Raises:
            RepositoryUnknown: there is no such repository.
            DeletionUnfinished: there is more in it than one request deletes.
        """

        def delete() -> None:
            rows = self._database.run(
                logged(f"DELETE FROM repository WHERE id = {REPOSITORY_ID} RETURNING id"),
                {**name_parameters(name), **entry.parameters()},
            )
            if not rows:
                raise RepositoryUnknown(f"there is no repository '{name}'")

        repositories = self._repositories(name.namespace, name.name)
        self._empty(str(name), repositories, self._deadline())
        self._delete(repositories, delete)

    def namespace(self, name: str, entry: Entry, *, organization: bool) -> None:
        """Delete a user or an organization with all repositories, and keep ENTRY in the log.

        Raises:
            UserUnknown: there is no such user or organization.
            DeletionUnfinished: there is more in it than one request deletes.
        """

        def delete() -> None:
            rows = self._database.run(
                logged(_DELETE_NAMESPACE),
                {"name": name, "organization": organization, **entry.parameters()},
            )
            if not rows:
                raise users.unknown_namespace(name, organization=organization)

        repositories = self._repositories(name, None, organization=organization)
        deadline = self._deadline()
        self._empty(name, repositories, deadline)
        while len(repositories) > _REPOSITORIES:
            self._require_time(name, deadline)
            some = _first(repositories, _REPOSITORIES)
            statement = partial(self._database.run, _DELETE_REPOSITORIES, {"ids": list(some)})
            self._delete(some, statement)
            repositories = {k: v for k, v in repositories.items() if k not in some}
        self._delete(repositories, delete)

    def rename(self, name: str, new_name: str, *, organization: bool) -> None:
        """Give a user or an organization another name, as `users.rename_namespace` does."""
        repositories = self._repositories(name, None)
        users.rename_namespace(self._database, name, new_name, organization=organization)
        for keys in self._cached(repositories):
            self._redis.delete(*keys)

    def _repositories(
        self, namespace: str, name: str | None, *, organization: bool | None = None
    ) -> dict[int, str]:
        """Return the full names of repositories by id."""
        values = {"namespace": namespace, "name": name, "organization": organization}
        return {row[0]: row[1] for row in self._database.read(_REPOSITORIES_OF, values)}

    def _deadline(self) -> float:
        return self._monotonic() + self._patience

    def _require_time(self, what: str, deadline: float) -> None:
        if self._monotonic() > deadline:
            raise DeletionUnfinished(what)

    def _empty(self, what: str, repositories: dict[int, str], deadline: float) -> None:
        """Delete the content of REPOSITORIES until one statement can delete the rest."""
        values = {"ids": list(repositories), "batch": self._batch}
        while self._database.read(_SIZE, values)[0][0] > self._batch:
            self._require_time(what, deadline)
            rows = self._database.run(_EMPTY, values)
            if not rows:
                # Only pull statistics are left, or all rows are held.
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
        """Call DELETE, and then delete what is cached of REPOSITORIES."""
        keys = [key for page in self._cached(repositories) for key in page]
        delete()
        self._redis.delete(*keys)

    def _cached(self, repositories: dict[int, str]) -> Iterator[list[str]]:
        """Yield the keys of what may be cached of REPOSITORIES, a page at a time."""
        pages = dict.fromkeys(repositories, ("", 0))
        while pages:
            some = _first(pages, _REPOSITORIES)
            rows = self._database.read(
                _CACHED,
                {
                    "ids": list(some),
                    "digests": [digest for digest, _ in some.values()],
                    "blobs": [blob for _, blob in some.values()],
                    "batch": self._batch,
                },
            )
            for repository, digests, blobs in rows:
                name, (digest, blob) = repositories[repository], some[repository]
                found = [one.split(" ") for one in blobs]
                yield [
                    *(key for one in digests for key in manifest_cache_keys(name, one)),
                    *(right_cache_key(name, checksum) for _, checksum in found),
                ]
                if digests:
                    digest = digests[-1]
                if found:
                    blob = int(found[-1][0])
                pages[repository] = (digest, blob)
                if max(len(digests), len(found)) < self._batch:
                    del pages[repository]


def _first(values: dict[int, _Value], count: int) -> dict[int, _Value]:
    return dict(islice(values.items(), count))

"""Delete repositories and namespaces, or rename these, with what is cached under their names.

A name is free again at once, so nothing that is cached under it may outlive what had it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from atoll.auth import users
from atoll.auth.audit import Entry, logged
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.names import RepositoryName
from atoll.registry.blobs import right_cache_key
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.manifests import manifest_cache_key
from atoll.registry.repositories import REPOSITORY_ID, name_parameters

_CACHED = """
SELECT n.username || '/' || r.name,
       array(SELECT digest FROM manifest m WHERE m.repository_id = r.id),
       array(SELECT s.content_checksum FROM imagestorage s WHERE s.id IN (
           SELECT blob_id FROM uploadedblob u WHERE u.repository_id = r.id
           UNION SELECT blob_id FROM manifestblob b WHERE b.repository_id = r.id))
FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE n.username = %(namespace)s AND (%(name)s IS NULL OR r.name = %(name)s)
"""


class Removal:
    """Takes names away."""

    def __init__(self, database: Database, redis: SharedRedis) -> None:
        self._database = database
        self._redis = redis

    def repository(self, name: RepositoryName, entry: Entry) -> None:
        """Delete a repository with all that is in it, and keep ENTRY. Raises RepositoryUnknown.

        Uploads to it end: what they wrote is cleared away in the background.
        """
        with self._forgotten(name.namespace, name.name):
            rows = self._database.run(
                logged(f"DELETE FROM repository WHERE id = {REPOSITORY_ID} RETURNING id"),
                {**name_parameters(name), **entry.parameters()},
            )
        if not rows:
            raise RepositoryUnknown(f"there is no repository '{name}'")

    def namespace(self, name: str, entry: Entry, *, organization: bool) -> None:
        """Delete a user or an organization, as `users.delete_namespace` does."""
        with self._forgotten(name):
            users.delete_namespace(self._database, name, entry, organization=organization)

    def rename(self, name: str, new_name: str, *, organization: bool) -> None:
        """Give a user or an organization another name, as `users.rename_namespace` does."""
        with self._forgotten(name):
            users.rename_namespace(self._database, name, new_name, organization=organization)

    @contextmanager
    def _forgotten(self, namespace: str, name: str | None = None) -> Iterator[None]:
        """Note what may be cached, and let the cache forget it when the work inside is done."""
        rows = self._database.read(_CACHED, {"namespace": namespace, "name": name})
        yield
        for repository, manifests, blobs in rows:
            for digest in manifests:
                self._redis.delete(manifest_cache_key(repository, digest))
            for digest in blobs:
                self._redis.delete(right_cache_key(repository, digest))

"""Push, pull and delete manifests.

The bytes of a manifest are stored in PostgreSQL and returned unchanged. A manifest is accepted only
if the repository has all blobs and manifests that it refers to. With FEATURE_SPARSE_INDEX an index
may list manifests that the repository does not have (`absent_manifests`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import psycopg2.errors

from atoll.db.advisory_locks import LARGE_MANIFEST, lock
from atoll.db.pool import Database
from atoll.db.replicas import Answer, Reads
from atoll.db.shared_reads import SharedReads
from atoll.db.shared_redis import SharedRedis
from atoll.db.statement import Statement
from atoll.names import Digest, RepositoryName
from atoll.notifications.subscriptions import ENQUEUE_PUSH_NOTIFICATIONS
from atoll.placement.locks import lock_digests_shared
from atoll.placement.placement_cache import cache_key
from atoll.placement.placements import HAS_GOOD_COPY, REMOVE_TOMBSTONES
from atoll.placement.rules import sync_requirement
from atoll.placement.upkeep.push_barrier import PushBarrier
from atoll.registry.absent_manifests import (
    LINK_ARRIVED,
    LOCK_RELATED,
    LOCK_REPOSITORY,
    RECORD_ABSENT,
)
from atoll.registry.blob_rights import (
    nameable_in,
    proves_repository,
    repository_value,
    right_cache_key,
)
from atoll.registry.errors import (
    DigestMismatch,
    ManifestBlobUnknown,
    ManifestUnknown,
)
from atoll.registry.manifest import Manifest
from atoll.registry.manifest_cache import ManifestCache, manifest_cache_keys
from atoll.registry.manifest_format import ParsedManifest, parse
from atoll.registry.repositories import (
    REPOSITORY_ID,
    WRITABLE,
    Repositories,
    name_parameters,
    raise_if_read_only,
    read_only,
)
from atoll.registry.tag_cache import TagCache
from atoll.registry.tag_locks import lock_references
from atoll.registry.tags import NOW_MS, alive
from atoll.scanning.scan_requests import REQUEST_SCAN

# Advisory locks that any number of concurrent transactions may hold. PostgreSQL's lock table has 64
# entries for each connection (max_locks_per_transaction).
_LOCKS = 48
# The maximum number of missing digests whose cache keys are deleted. Images have fewer layers.
_INVALIDATED_MAXIMUM = 1000

# Return the repository's id, which of the referenced digests it has, whether its state permits the
# push, and the copies that its policy requires before a push is confirmed.
_LOOK_UP = f"""
SELECT repository.id,
       array(
           SELECT s.content_checksum FROM imagestorage s
           WHERE s.content_checksum = ANY(%(blobs)s)
             AND {HAS_GOOD_COPY}
             AND {nameable_in("repository.id")}
       ) || array(
           SELECT m.digest FROM manifest m
           WHERE m.repository_id = repository.id AND m.digest = ANY(%(children)s)
             AND m.deleted_at IS NULL
       ),
       {WRITABLE.format(id="repository.id")},
       {sync_requirement("repository.id")}
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
"""

# Store a manifest with its references, point its tags to it, write log entries, request a scan and
# enqueue notifications, in one transaction. The locks, acquired in a fixed order, serialize pushes
# of a tag and of a manifest, and prevent the collection of blobs and manifests that the lookup
# found. If the collector was faster, the reference is null and violates a constraint; an absent
# manifest is recorded instead if permitted. The state of the repository, which the lookup found, is
# locked and checked again: a manifest of a repository that must not change violates a constraint,
# too. PostgreSQL's lock table is shared, so transactions that need many locks are serialized first.
_STORE = f"""
SELECT {lock(LARGE_MANIFEST)}
WHERE cardinality(%(tags)s::text[]) + cardinality(%(blobs)s::text[])
      + cardinality(%(optional_children)s::text[]) > {_LOCKS};
{
    lock_references(
        "%(repository_id)s",
        exclusive="%(tags)s::text[] || %(digest)s::text",
        shared="%(optional_children)s::text[]",
    )
}
{lock_digests_shared("%(blobs)s")}
{REMOVE_TOMBSTONES}
{LOCK_REPOSITORY}
INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes, subject, artifact_type)
VALUES (CASE WHEN {WRITABLE.format(id="%(repository_id)s")} IS NOT FALSE THEN %(repository_id)s END,
        %(digest)s, %(media_type)s, %(content)s, %(subject)s, %(artifact_type)s)
ON CONFLICT (repository_id, digest)
DO UPDATE SET deleted_at = NULL, pushed_at = clock_timestamp();
{LOCK_RELATED}
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT m.repository_id, m.id, (
    SELECT s.id FROM imagestorage s WHERE s.content_checksum = blob AND {HAS_GOOD_COPY})
FROM manifest m, unnest(%(blobs)s::text[]) AS blob
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
ON CONFLICT DO NOTHING;
{RECORD_ABSENT}
INSERT INTO manifestchild (manifest_id, child_manifest_id)
SELECT m.id, (
    SELECT c.id FROM manifest c WHERE c.repository_id = m.repository_id AND c.digest = child)
FROM manifest m, unnest(%(children)s::text[]) AS child
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s AND NOT EXISTS (
    SELECT FROM manifestabsent a WHERE a.manifest_id = m.id AND a.digest = child)
ON CONFLICT DO NOTHING;
{LINK_ARRIVED}
UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms)
FROM manifest m
WHERE tag.repository_id = %(repository_id)s AND tag.name = ANY(%(tags)s)
  AND tag.lifetime_end_ms IS NULL AND m.id = tag.manifest_id
  AND (m.digest <> %(digest)s OR tag.expires_ms IS NOT NULL);
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms, expires_ms)
SELECT m.repository_id, new.tag, m.id, {NOW_MS}, {NOW_MS} + 1000 * (
    SELECT expires_after_s FROM imagestorage WHERE content_checksum = %(config)s)
FROM manifest m, (SELECT DISTINCT unnest(%(tags)s::text[]) AS tag) AS new
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
ON CONFLICT (repository_id, name) WHERE lifetime_end_ms IS NULL DO NOTHING;
INSERT INTO logentry (kind, namespace, repository, performer, ip, metadata)
SELECT 'push_repo', %(namespace)s, %(name)s, %(username)s, %(address)s, jsonb_strip_nulls(
    jsonb_build_object('namespace', %(namespace)s::text, 'repo', %(name)s::text, 'tag', pushed.tag,
                       'manifest_digest', %(digest)s::text))
FROM (SELECT unnest(%(tags)s::text[]) AS tag
      UNION ALL SELECT NULL WHERE cardinality(%(tags)s::text[]) = 0) AS pushed;
{REQUEST_SCAN}
{ENQUEUE_PUSH_NOTIFICATIONS}
"""

# Find a manifest by digest, and whether the reference lasts until it is changed.
_BY_DIGEST = Statement(f"""
SELECT digest, media_type, manifest_bytes, repository_id, true FROM manifest
WHERE repository_id = {REPOSITORY_ID} AND digest = %(reference)s AND deleted_at IS NULL
""")

# Find a manifest by tag, and whether the tag lasts until it is changed.
_BY_TAG = Statement(f"""
SELECT m.digest, m.media_type, m.manifest_bytes, m.repository_id, t.expires_ms IS NULL
FROM tag t JOIN manifest m ON m.id = t.manifest_id
WHERE t.repository_id = {REPOSITORY_ID} AND t.name = %(reference)s AND {alive("t")}
""")

# Delete a manifest, end the tags that point to it, and return the digests of its blobs.
_DELETE = f"""
WITH deleted_manifest AS (
    UPDATE manifest SET deleted_at = now()
    WHERE repository_id = {REPOSITORY_ID} AND digest = %(reference)s AND deleted_at IS NULL
      AND {WRITABLE.format(id="repository_id")}
    RETURNING id
), ended_tags AS (
    UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms) FROM deleted_manifest
    WHERE tag.manifest_id = deleted_manifest.id AND tag.lifetime_end_ms IS NULL
)
SELECT array(
    SELECT s.content_checksum FROM manifestblob mb JOIN imagestorage s ON s.id = mb.blob_id
    WHERE mb.manifest_id = deleted_manifest.id)
FROM deleted_manifest
"""


@dataclass(frozen=True)
class PushedManifest:
    """The result of a push.

    Attributes:
        digest: The manifest's digest.
        subject: The digest of its subject, if any.
        foreign_layers: The digests of foreign layers that the repository does not have.
    """

    digest: Digest
    subject: str | None
    foreign_layers: list[str]


class Manifests:
    """The manifests of all repositories."""

    def __init__(
        self,
        database: Database,
        reads: Reads,
        redis: SharedRedis,
        repositories: Repositories,
        required: list[str],
        *,
        sparse_indexes: bool,
        scans: bool = False,
        tag_cache: TagCache | None = None,
    ) -> None:
        """Provide the manifests.

        Args:
            database: Where they are stored.
            reads: Queries that a replica may answer.
            redis: The cache.
            repositories: The repositories, which a push may create.
            required: The default locations.
            sparse_indexes: Whether an index may list manifests that its repository does not have.
            scans: Whether a push requests a scan of its image.
            tag_cache: Tags in memory; None to query each of them.
        """
        self._database = database
        self._reads = reads
        self._redis = redis
        self._repositories = repositories
        self._required = required
        self._sparse_indexes = sparse_indexes
        self._scans = scans
        self._tag_cache = tag_cache or TagCache()
        self._tag_reads: SharedReads[Answer] = SharedReads()
        self._barrier = PushBarrier(database)

    def put(
        self,
        name: RepositoryName,
        reference: str,
        content: bytes,
        media_type: str,
        *,
        tags: list[str],
        username: str | None,
        address: str | None = None,
    ) -> PushedManifest:
        """Store a manifest under its digest and its tags.

        Takes two round trips; more if a policy requires copies before a push is confirmed.

        Args:
            name: The repository, which is created if necessary and permitted.
            reference: A tag or the manifest's digest.
            content: The manifest.
            media_type: The media type.
            tags: Further tags.
            username: The user who pushes; None for anonymous clients.
            address: The client's IP address.

        Raises:
            ManifestInvalid: The manifest is malformed or of an unsupported type.
            ManifestBlobUnknown: The repository lacks blobs that it refers to, or manifests that
                must not be absent.
            DigestMismatch: The reference is another digest than the manifest's.
            Denied: The user lacks push permission, or the repository is read-only.
            NotCopiedYet: The copies that a policy requires were not completed in time.
        """
        parsed = parse(content, media_type)
        digest, tag = self._identify(reference, content)
        tags = tags if tag is None else [tag, *tags]
        repository_id, known, waits = self._look_up(name, parsed, username)
        if repository_id is None:
            name = self._repositories.create_for_push(username, name)
            repository_id, known, waits = self._look_up(name, parsed, username)
        required = [*parsed.blobs, *([] if self._sparse_indexes else parsed.children)]
        if missing := [one for one in required if one not in known]:
            self._invalidate_cache(name, missing)
            raise ManifestBlobUnknown(missing)
        foreign = [layer for layer in parsed.optional if layer not in known]
        present = [layer for layer in parsed.optional if layer in known]
        parsed = replace(parsed, blobs=[*parsed.blobs, *present])
        if waits is not None and repository_id is not None:
            self._barrier.wait(repository_id, parsed.blobs, parsed.children, *waits)
        try:
            self._store(
                name,
                Manifest(digest, media_type, content),
                parsed,
                {
                    "repository_id": repository_id,
                    "tags": tags,
                    "username": username,
                    "address": address,
                },
            )
        except ManifestBlobUnknown as error:
            self._invalidate_cache(name, error.digests)
            raise
        return PushedManifest(digest, parsed.subject, foreign)

    def get(self, name: RepositoryName, reference: str) -> Manifest:
        """Return a manifest by digest or tag, in one round trip.

        By digest it may be cached. Tags can change and are always queried, except with
        FEATURE_TAG_CACHE; concurrent requests for a tag share a query that begins after them.

        Raises:
            ManifestUnknown: The repository has no such manifest or tag.
        """
        if kept := self._tag_cache.get(name, reference):
            return kept
        by_digest = Digest.is_digest(reference)
        if by_digest and (cached := self._cached(name, reference)):
            return cached
        values = {**name_parameters(name), "reference": reference}
        reading = self._tag_cache.begin(name)
        if by_digest:
            answer = self._reads.near(_BY_DIGEST, values)
        else:
            # Names with different ids are equal.
            answer = self._tag_reads.read(
                (name, name.id, reference), lambda: self._reads.current(_BY_TAG, values)
            )
        if not answer.rows:
            raise ManifestUnknown(f"'{name}' has no manifest '{reference}'")
        digest, media_type, content, repository_id, lasting = answer.rows[0]
        manifest = Manifest(Digest.parse(digest), media_type, bytes(content))
        if reading is not None and lasting and answer.fresh:
            self._tag_cache.put(name, reference, manifest, reading)
        if by_digest and answer.fresh:
            content_key, owner_key = manifest_cache_keys(name, reference)
            self._redis.fill(content_key, media_type.encode() + b"\n" + manifest.content)
            self._redis.fill(owner_key, repository_value(repository_id))
        return manifest

    def delete(self, name: RepositoryName, digest: Digest, username: str | None = None) -> None:
        """Delete a manifest and all tags that point to it.

        Args:
            name: The repository.
            digest: The manifest's digest.
            username: The user who deletes it; None for anonymous clients.

        Raises:
            ManifestUnknown: The repository has no such manifest.
            Denied: The repository is read-only.
        """
        values = {**name_parameters(name), "reference": str(digest), "username": username}
        rows = self._database.run(_DELETE, values)
        if not rows:
            raise_if_read_only(self._database, name, username)
            raise ManifestUnknown(f"'{name}' has no manifest '{digest}'")
        ManifestCache(self._redis).forget(name, digest, rows[0][0])

    def _cached(self, name: RepositoryName, digest: str) -> Manifest | None:
        """Return a cached manifest; earlier versions do not cache the id of its repository."""
        content, owner = self._redis.get_cached(*manifest_cache_keys(name, digest))
        if not content or not (name.id is None or proves_repository(owner, name)):
            return None
        media_type, _, manifest = content.partition(b"\n")
        return Manifest(Digest.parse(digest), media_type.decode(), manifest)

    def _invalidate_cache(self, name: RepositoryName, missing: list[str]) -> None:
        """Delete the cache keys of missing blobs, so that a retry of the push uploads them.

        After a crash between commit and cache deletion, or an outage of Redis, stale keys claim
        that the blobs exist, and clients would skip the upload at every attempt.
        """
        keys = [
            key
            for digest in missing[:_INVALIDATED_MAXIMUM]
            for key in (cache_key(digest), right_cache_key(name, digest))
        ]
        self._redis.delete(*keys)

    @staticmethod
    def _identify(reference: str, content: bytes) -> tuple[Digest, str | None]:
        """Return the digest of the content, and the tag if the reference is one."""
        if not Digest.is_digest(reference):
            return Digest.of(content), reference
        expected = Digest.parse(reference)
        digest = Digest.of(content, expected.algorithm)
        if digest != expected:
            raise DigestMismatch(f"the manifest's digest is {digest}, not {expected}")
        return digest, None

    def _look_up(
        self, name: RepositoryName, parsed: ParsedManifest, username: str | None
    ) -> tuple[int | None, set[str], list[int] | None]:
        repository_id, known, writable, waits = self._database.read(
            _LOOK_UP,
            {
                **name_parameters(name),
                "blobs": [*parsed.blobs, *parsed.optional],
                "children": parsed.children,
                "required": self._required,
                "username": username,
            },
        )[0]
        if repository_id is not None and not writable:
            # Tokens do not reflect later changes of the state, or of a mirror's robot.
            raise read_only(name)
        return repository_id, set(known), waits

    def _store(
        self,
        name: RepositoryName,
        manifest: Manifest,
        parsed: ParsedManifest,
        push: Mapping[str, object],
    ) -> None:
        try:
            self._database.run(
                _STORE,
                {
                    **name_parameters(name),
                    **push,
                    "digest": str(manifest.digest),
                    "media_type": manifest.media_type,
                    "content": manifest.content,
                    "subject": parsed.subject,
                    "artifact_type": parsed.artifact_type,
                    "blobs": parsed.blobs,
                    "children": parsed.children,
                    "child_types": [one.media_type for one in parsed.listed],
                    "child_sizes": [one.size for one in parsed.listed],
                    "optional_children": parsed.children if self._sparse_indexes else [],
                    "config": parsed.config,
                    "scans": self._scans,
                },
            )
        except (psycopg2.errors.ForeignKeyViolation, psycopg2.errors.NotNullViolation) as error:
            if error.diag.table_name == "manifest" and error.diag.column_name == "repository_id":
                raise read_only(name) from error
            # A reference that the lookup found was deleted concurrently.
            raise ManifestBlobUnknown([*parsed.blobs, *parsed.children]) from error

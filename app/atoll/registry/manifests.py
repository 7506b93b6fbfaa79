"""Manifests: read what one names, keep it, find it, delete it.

A manifest's bytes live in PostgreSQL and are given back as they came. It is accepted only when the
repository has everything that it names, placed. Formats: OCI image-spec v1.1, Docker schema 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg2.errors

from atoll.auth.access import NORMAL
from atoll.db.advisory_locks import LARGE_MANIFEST, lock
from atoll.db.pool import Database
from atoll.db.replicas import Reads
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest, InvalidDigest, RepositoryName
from atoll.notifications.subscriptions import TELL_OF_PUSH
from atoll.placement.locks import lock_digests_shared
from atoll.placement.rules import waits_for
from atoll.placement.upkeep.push_barrier import PushBarrier
from atoll.registry.blobs import (
    PLACED,
    cache_key,
    nameable_in,
    proves_repository,
    repository_value,
    right_cache_key,
)
from atoll.registry.errors import (
    Denied,
    DigestMismatch,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
)
from atoll.registry.repositories import (
    REPOSITORY_ID,
    WRITABLE,
    Repositories,
    name_parameters,
    raise_if_read_only,
)
from atoll.registry.tag_locks import lock_tags
from atoll.registry.tags import NOW_MS, alive

MAXIMUM_SIZE = 4 * 2**20
# Docker's limit of layers is 127; indexes are as large as Quay's mirroring allows them to be.
MAXIMUM_LAYERS = 1000
MAXIMUM_CHILDREN = 1000
# Advisory locks that any number of transactions may hold at the same time. PostgreSQL has room for
# 64 locks for each connection (max_locks_per_transaction).
_LOCKS = 48
# Missing digests of one manifest whose cache keys are deleted. Images have fewer layers.
_FORGOTTEN = 1000

_IMAGE_TYPES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    }
)
_INDEX_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
_SCHEMA_VERSION = 2
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]*/[A-Za-z0-9][\w!#$&^.+-]*", re.ASCII)
# Layers that need not be pushed: whoever pulls fetches them from their URLs.
_FOREIGN = ("nondistributable", "foreign.diff")

_LOOK_UP = f"""
SELECT repository.id,
       array(
           SELECT s.content_checksum FROM imagestorage s
           WHERE s.content_checksum = ANY(%(blobs)s)
             AND {PLACED}
             AND {nameable_in("repository.id")}
       ) || array(
           SELECT m.digest FROM manifest m
           WHERE m.repository_id = repository.id AND m.digest = ANY(%(children)s)
             AND m.deleted_at IS NULL
       ),
       (SELECT state FROM repository r WHERE r.id = repository.id),
       {waits_for("repository.id")}
FROM (SELECT {REPOSITORY_ID} AS id) AS repository
"""

# One string, one transaction. The locks, always taken in the same order, keep two pushes of one tag
# from meeting in its index, and the collector from taking a blob that was there at the look-up: if
# it was quicker, there is no blob to name, which is refused as null; so is a child that is gone.
# PostgreSQL's lock table is shared by everybody: transactions that need many locks wait for each
# other first.
_KEEP = f"""
SELECT {lock(LARGE_MANIFEST)}
WHERE cardinality(%(tags)s::text[]) + cardinality(%(blobs)s::text[]) > {_LOCKS};
{lock_tags("%(repository_id)s", "%(tags)s")}
{lock_digests_shared("%(blobs)s")}
UPDATE imagestorage SET tombstone_at = NULL FROM (
    SELECT id FROM imagestorage
    WHERE content_checksum = ANY(%(blobs)s) AND tombstone_at IS NOT NULL
    ORDER BY id FOR UPDATE) AS marked
WHERE imagestorage.id = marked.id;
INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes, subject, artifact_type)
VALUES (%(repository_id)s, %(digest)s, %(media_type)s, %(content)s, %(subject)s, %(artifact_type)s)
ON CONFLICT (repository_id, digest)
DO UPDATE SET deleted_at = NULL, pushed_at = clock_timestamp();
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT m.repository_id, m.id, (
    SELECT s.id FROM imagestorage s WHERE s.content_checksum = blob AND {PLACED})
FROM manifest m, unnest(%(blobs)s::text[]) AS blob
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
ON CONFLICT DO NOTHING;
INSERT INTO manifestchild (manifest_id, child_manifest_id)
SELECT m.id, (
    SELECT c.id FROM manifest c WHERE c.repository_id = m.repository_id AND c.digest = child)
FROM manifest m, unnest(%(children)s::text[]) AS child
WHERE m.repository_id = %(repository_id)s AND m.digest = %(digest)s
ON CONFLICT DO NOTHING;
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
{TELL_OF_PUSH}
"""

_BY_DIGEST = f"""
SELECT digest, media_type, manifest_bytes, repository_id FROM manifest
WHERE repository_id = {REPOSITORY_ID} AND digest = %(reference)s AND deleted_at IS NULL
"""

_BY_TAG = f"""
SELECT m.digest, m.media_type, m.manifest_bytes, m.repository_id
FROM tag t JOIN manifest m ON m.id = t.manifest_id
WHERE t.repository_id = {REPOSITORY_ID} AND t.name = %(reference)s AND {alive("t")}
"""

_DELETE = f"""
WITH deleted AS (
    UPDATE manifest SET deleted_at = now()
    WHERE repository_id = {REPOSITORY_ID} AND digest = %(reference)s AND deleted_at IS NULL
      AND {WRITABLE.format(id="repository_id")}
    RETURNING id
), ended AS (
    UPDATE tag SET lifetime_end_ms = least({NOW_MS}, tag.expires_ms) FROM deleted
    WHERE tag.manifest_id = deleted.id AND tag.lifetime_end_ms IS NULL
)
SELECT array(
    SELECT s.content_checksum FROM manifestblob mb JOIN imagestorage s ON s.id = mb.blob_id
    WHERE mb.manifest_id = deleted.id)
FROM deleted
"""


@dataclass(frozen=True)
class Manifest:
    """A manifest as it was pushed."""

    digest: Digest
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Kept:
    """A manifest that was accepted.

    `subject` is the digest that it refers to, if it does; `elsewhere` are layers that are not here.
    """

    digest: Digest
    subject: str | None
    elsewhere: list[str]


@dataclass(frozen=True)
class Contents:
    """What a manifest names; of `optional` layers the repository may have none."""

    blobs: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    config: str | None = None
    subject: str | None = None
    artifact_type: str | None = None
    optional: list[str] = field(default_factory=list)


def parse(content: bytes, media_type: str) -> Contents:
    """Return what the manifest CONTENT of MEDIA_TYPE names, or raise ManifestInvalid."""
    try:
        # Of bytes, json would accept UTF-16 as well, which neither clients nor PostgreSQL read.
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid("the manifest is not JSON") from error
    if not isinstance(document, dict):
        raise ManifestInvalid("the manifest is not a JSON object")
    if document.get("schemaVersion") != _SCHEMA_VERSION:
        raise ManifestInvalid("schemaVersion must be 2")
    if document.get("mediaType", media_type) != media_type:
        raise ManifestInvalid(
            f"mediaType is '{document['mediaType']}', but the Content-Type is '{media_type}'"
        )
    subject = document.get("subject")
    contents = Contents(
        subject=_digest(subject, "subject") if subject is not None else None,
        artifact_type=_artifact_type(document),
    )
    if media_type in _INDEX_TYPES:
        children = [
            _digest(entry, f"manifests[{n}]")
            for n, entry in _entries(document, "manifests", MAXIMUM_CHILDREN)
        ]
        return replace(contents, children=children)
    if media_type in _IMAGE_TYPES:
        blobs = [_digest(document.get("config"), "config")]
        optional: list[str] = []
        for n, entry in _entries(document, "layers", MAXIMUM_LAYERS):
            (optional if _is_foreign(entry) else blobs).append(_digest(entry, f"layers[{n}]"))
        return replace(contents, blobs=blobs, optional=optional, config=blobs[0])
    raise ManifestInvalid(f"manifests of media type '{media_type}' are not supported")


def _entries(document: dict[str, Any], key: str, maximum: int) -> list[tuple[int, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise ManifestInvalid(f"{key} must be a list")
    if len(entries) > maximum:
        raise ManifestInvalid(f"{key} has {len(entries)} entries; at most {maximum} are supported")
    return list(enumerate(entries))


def _digest(descriptor: Any, where: str) -> str:
    if not isinstance(descriptor, dict) or not isinstance(descriptor.get("digest"), str):
        raise ManifestInvalid(f"{where} must be a descriptor with a digest")
    try:
        return str(Digest.parse(descriptor["digest"]))
    except InvalidDigest as error:
        raise ManifestInvalid(f"{where}: {error}") from error


def _artifact_type(document: dict[str, Any]) -> str | None:
    artifact_type = document.get("artifactType")
    if artifact_type is None:
        return None
    if not isinstance(artifact_type, str) or not _MEDIA_TYPE.fullmatch(artifact_type):
        raise ManifestInvalid("artifactType must be a media type")
    return artifact_type


def _is_foreign(descriptor: Any) -> bool:
    media_type = descriptor.get("mediaType") if isinstance(descriptor, dict) else None
    return isinstance(media_type, str) and any(word in media_type for word in _FOREIGN)


def manifest_cache_key(name: RepositoryName | str, digest: str) -> str:
    """Return the cache's key for the content of a manifest of a repository."""
    return f"atoll:manifest:{name}:{digest}"


def manifest_cache_keys(name: RepositoryName | str, digest: str) -> tuple[str, str]:
    """Return the cache's keys for a manifest: its content, and the id of its repository.

    A deletion of the manifest deletes both.
    """
    return manifest_cache_key(name, digest), f"atoll:manifest-of:{name}:{digest}"


def deleted_manifest_cache_keys(
    name: RepositoryName, digest: str, blobs: Sequence[str]
) -> list[str]:
    """Return the cache's keys that a deleted manifest invalidates.

    Args:
        name: the repository.
        digest: the manifest's digest.
        blobs: the digests of its blobs, to which the repository may have no right any more.
    """
    return [
        *manifest_cache_keys(name, digest),
        *(right_cache_key(name, blob) for blob in blobs),
    ]


class Manifests:
    """The manifests of all repositories."""

    def __init__(
        self,
        database: Database,
        reads: Reads,
        redis: SharedRedis,
        repositories: Repositories,
        required: list[str],
    ) -> None:
        self._database = database
        self._reads = reads
        self._redis = redis
        self._repositories = repositories
        self._required = required
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
    ) -> Kept:
        """Keep a manifest under its digest, under REFERENCE if that is a tag, and under TAGS.

        USERNAME pushes from ADDRESS. Two round trips; where a policy has pushes wait for copies,
        more. Raises ManifestInvalid, ManifestBlobUnknown, DigestMismatch, Denied or NotCopiedYet.
        """
        contents = parse(content, media_type)
        digest, tag = self._address(reference, content)
        tags = tags if tag is None else [tag, *tags]
        repository_id, known, waits = self._look_up(name, contents)
        if repository_id is None:
            name = self._repositories.create_for_push(username, name)
            repository_id, known, waits = self._look_up(name, contents)
        named = [*contents.blobs, *contents.children]
        if missing := [digest_text for digest_text in named if digest_text not in known]:
            self._forget_cached(name, missing)
            raise ManifestBlobUnknown(missing)
        elsewhere = [layer for layer in contents.optional if layer not in known]
        here = [layer for layer in contents.optional if layer in known]
        contents = replace(contents, blobs=[*contents.blobs, *here])
        if waits is not None and repository_id is not None:
            self._barrier.wait(repository_id, contents.blobs, contents.children, *waits)
        try:
            self._keep(
                Manifest(digest, media_type, content),
                contents,
                {
                    **name_parameters(name),
                    "repository_id": repository_id,
                    "tags": tags,
                    "username": username,
                    "address": address,
                },
            )
        except ManifestBlobUnknown as error:
            self._forget_cached(name, error.digests)
            raise
        return Kept(digest, contents.subject, elsewhere)

    def get(self, name: RepositoryName, reference: str) -> Manifest:
        """Return a manifest by digest or tag, or raise ManifestUnknown. One round trip.

        By digest none, if it is cached; what a tag means can change, so it is asked each time.
        """
        by_digest = Digest.is_digest(reference)
        if by_digest and (cached := self._cached(name, reference)):
            return cached
        values = {**name_parameters(name), "reference": reference}
        if by_digest:
            answer = self._reads.near(_BY_DIGEST, values)
        else:
            answer = self._reads.current(_BY_TAG, values)
        if not answer.rows:
            raise ManifestUnknown(f"'{name}' has no manifest '{reference}'")
        digest, media_type, content, repository_id = answer.rows[0]
        manifest = Manifest(Digest.parse(digest), media_type, bytes(content))
        if by_digest and answer.fresh:
            content_key, owner_key = manifest_cache_keys(name, reference)
            self._redis.fill(content_key, media_type.encode() + b"\n" + manifest.content)
            self._redis.fill(owner_key, repository_value(repository_id))
        return manifest

    def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Delete a manifest and every tag that means it.

        Raises ManifestUnknown, or Denied if the repository is read-only.
        """
        values = {**name_parameters(name), "reference": str(digest)}
        rows = self._database.run(_DELETE, values)
        if not rows:
            raise_if_read_only(self._database, name)
            raise ManifestUnknown(f"'{name}' has no manifest '{digest}'")
        self._redis.delete(*deleted_manifest_cache_keys(name, str(digest), rows[0][0]))

    def _cached(self, name: RepositoryName, digest: str) -> Manifest | None:
        """Return a cached manifest. Earlier versions do not cache the id of its repository."""
        content, owner = self._redis.get_cached(*manifest_cache_keys(name, digest))
        if not content or not (name.id is None or proves_repository(owner, name)):
            return None
        media_type, _, manifest = content.partition(b"\n")
        return Manifest(Digest.parse(digest), media_type.decode(), manifest)

    def _forget_cached(self, name: RepositoryName, missing: list[str]) -> None:
        """Let a client that pushes again find what is missing.

        A process that died after a commit, or a Redis that was unavailable, leaves keys that say
        that the blobs are there; the client's HEAD would skip them at every attempt.
        """
        keys = [(cache_key(one), right_cache_key(name, one)) for one in missing[:_FORGOTTEN]]
        self._redis.delete(*(key for pair in keys for key in pair))

    @staticmethod
    def _address(reference: str, content: bytes) -> tuple[Digest, str | None]:
        """Return the digest of CONTENT, and the tag if REFERENCE is one."""
        if not Digest.is_digest(reference):
            return Digest.of(content), reference
        wanted = Digest.parse(reference)
        digest = Digest.of(content, wanted.algorithm)
        if digest != wanted:
            raise DigestMismatch(f"the manifest's digest is {digest}, not {wanted}")
        return digest, None

    def _look_up(
        self, name: RepositoryName, contents: Contents
    ) -> tuple[int | None, set[str], list[int] | None]:
        repository_id, known, state, waits = self._database.read(
            _LOOK_UP,
            {
                **name_parameters(name),
                "blobs": [*contents.blobs, *contents.optional],
                "children": contents.children,
                "required": self._required,
            },
        )[0]
        if repository_id is not None and state != NORMAL:
            # A token that was made before says nothing of this.
            raise Denied(f"the repository '{name}' is read only")
        return repository_id, set(known), waits

    def _keep(self, manifest: Manifest, contents: Contents, pushed: Mapping[str, object]) -> None:
        try:
            self._database.run(
                _KEEP,
                {
                    **pushed,
                    "digest": str(manifest.digest),
                    "media_type": manifest.media_type,
                    "content": manifest.content,
                    "subject": contents.subject,
                    "artifact_type": contents.artifact_type,
                    "blobs": contents.blobs,
                    "children": contents.children,
                    "config": contents.config,
                },
            )
        except (psycopg2.errors.ForeignKeyViolation, psycopg2.errors.NotNullViolation) as error:
            # Something that was here at the look-up is being deleted: as if it had not been here.
            raise ManifestBlobUnknown([*contents.blobs, *contents.children]) from error

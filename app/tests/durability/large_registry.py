"""A generated registry of any size, such as ten million tags and a hundred million placements.

Every table of a pull, a push, a queue and a collection has rows. Constraints and indexes are
removed while rows are inserted, and restored afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.db.pool import Database
from atoll.names import Digest

# Rows that one statement inserts.
_RANGE = 500_000
# Tables with generated rows whose constraints and indexes are removed meanwhile.
_FILLED = (
    "imagestorage",
    "imagestorageplacement",
    "manifest",
    "manifestblob",
    "tag",
    "uploadedblob",
    "replicationtask",
    "securityscan",
    "manifestsecurityscan",
    "logentry",
    "objectdeletion",
    "contentdeletion",
    "blobupload",
)
# Those of them whose id is generated.
_NUMBERED = (
    "imagestorage",
    "imagestorageplacement",
    "manifest",
    "tag",
    "securityscan",
    "replicationtask",
    "logentry",
)
NAMESPACE = "large"

_ACCOUNTS = """
INSERT INTO "user" (username, organization) VALUES ('large', true);
INSERT INTO repository (namespace_user_id, name, visibility)
SELECT u.id, 'app' || n, 'private' FROM "user" u, generate_series(1, %(repositories)s) n
WHERE u.username = 'large';
INSERT INTO imagestoragelocation (name)
SELECT 'location' || n FROM generate_series(1, %(locations)s) n
"""

# Row n of each table belongs together: tag n of manifest n, whose layer is blob n, and whose other
# layer is shared by a hundred images. Repository 1 has a hundredth of all tags.
_BLOBS = """
INSERT INTO imagestorage (id, content_checksum, image_size, created_at, tombstone_at)
OVERRIDING SYSTEM VALUE
SELECT n, 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1000000,
       now() - interval '1 year' * random(),
       CASE WHEN n %% 10000 = 0 THEN now() - interval '1 minute' END
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
"""
_PLACEMENTS = """
INSERT INTO imagestorageplacement (id, storage_id, location_id, verified_at)
OVERRIDING SYSTEM VALUE
SELECT n * %(locations)s + l.number, n, l.id, now() - interval '20 days' * random()
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n,
     (SELECT id, row_number() OVER (ORDER BY id) AS number FROM imagestoragelocation) l
"""
_MANIFESTS = """
WITH image AS (
    SELECT n, 'sha256:' || encode(sha256(('manifest ' || n)::bytea), 'hex') AS digest,
           now() - interval '1 year' * random() AS pushed,
           %(repository)s + CASE WHEN n %% 100 = 0 THEN 0 ELSE n %% %(repositories)s END
               AS repository_id
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
), manifests AS (
    INSERT INTO manifest (id, repository_id, digest, media_type, manifest_bytes, created_at,
                          pushed_at, deleted_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, repository_id, digest, 'application/vnd.oci.image.manifest.v1+json',
           convert_to(repeat(digest, 4), 'UTF8'), pushed, pushed,
           CASE WHEN n %% 10 = 5 THEN now() - interval '1 day' * random() END
    FROM image
), blobs AS (
    INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
    SELECT repository_id, n, blob FROM image,
    LATERAL (SELECT n AS blob WHERE n %% 10000 <> 0
             UNION SELECT n - n %% 100 + 1) AS layer
), scans AS (
    INSERT INTO securityscan (id, digest, index_status, available_at, is_backfill)
    OVERRIDING SYSTEM VALUE
    SELECT n, digest, 0, pushed, n %% 100 <> 0 FROM image WHERE n %% 10 = 0
), scanned AS (
    INSERT INTO manifestsecurityscan (manifest_id, scan_id)
    SELECT n, n FROM image WHERE n %% 10 = 0
), rights AS (
    INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
    SELECT repository_id, n, now() + interval '1 day' * random() FROM image WHERE n %% 2 = 1
), pulls AS (
    INSERT INTO logentry (id, kind, namespace, repository, performer, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, 'pull_repo', 'large', 'app' || repository_id, 'user', pushed FROM image
), tasks AS (
    INSERT INTO replicationtask (id, storage_id, location_id, available_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, n, %(target)s, pushed FROM image WHERE n %% 10 = 2
)
INSERT INTO tag (id, repository_id, name, manifest_id, lifetime_start_ms, lifetime_end_ms)
OVERRIDING SYSTEM VALUE
SELECT n, repository_id, 'tag-' || n, n, 0, CASE WHEN n %% 10 = 5 THEN 1 END FROM image
"""
# Rows that are not due yet: deletions of objects, which wait for the end of a fail-over, records of
# earlier deletions, and uploads in progress.
_WAITING = """
WITH deletion AS (
    INSERT INTO objectdeletion (storage_id, location_id, available_at)
    SELECT n, %(target)s, now() + interval '1 hour' * (1 + random())
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n WHERE n %% 10 = 3
), announcement AS (
    INSERT INTO contentdeletion (digest, location, deleted_at, announced_at)
    SELECT 'sha256:' || n, 'us', now() - interval '1 day' * random(), now() - interval '1 day'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n WHERE n %% 10 = 4
)
INSERT INTO blobupload (uuid, repository_id, changed_at)
SELECT gen_random_uuid(), %(repository)s, now() - interval '1 hour' * random()
FROM generate_series(%(first)s::bigint, %(last)s::bigint) n WHERE n %% 1000 = 6
"""

_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f'
FROM pg_constraint
WHERE contype IN ('f', 'p', 'u') AND (
    conrelid = ANY(%(tables)s::regclass[])
    OR contype = 'f' AND confrelid = ANY(%(tables)s::regclass[]))
ORDER BY contype = 'f' DESC, oid
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%(tables)s::regclass[]) AND NOT EXISTS (
    SELECT FROM pg_constraint c WHERE c.conindid = indexrelid AND c.contype IN ('p', 'u'))
ORDER BY indexrelid
"""
# The generated rows satisfy the constraints; a validation would join the large tables.
_VALID = "UPDATE pg_constraint SET convalidated = true WHERE NOT convalidated"


@dataclass(frozen=True)
class Size:
    """The size of a registry.

    Attributes:
        tags: The number of tags, manifests and blobs.
        copies: The number of locations, each with a copy of every blob.
        repositories: The number of repositories.
    """

    tags: int
    copies: int
    repositories: int


def fill_registry(database: Database, size: Size) -> None:
    """Generate a registry and vacuum it, which updates the planner's statistics.

    Args:
        database: A migrated database without blobs, of a superuser of PostgreSQL, with a long
            time-out. Locations with a copy are created beside the existing ones.
        size: The size.
    """
    parameters = {"repositories": size.repositories, "locations": size.copies}
    first_locations = database.read("SELECT count(*) FROM imagestoragelocation")[0][0]
    parameters["locations"] = size.copies - first_locations
    database.run(_ACCOUNTS, parameters)
    parameters["locations"] = size.copies
    parameters["repository"] = database.read("SELECT min(id) FROM repository")[0][0]
    parameters["target"] = database.read(
        "SELECT id FROM imagestoragelocation ORDER BY id LIMIT 1 OFFSET 1"
    )[0][0]
    with _without_indexes(database):
        for first in range(1, size.tags + 1, _RANGE):
            last = min(first + _RANGE - 1, size.tags)
            for statement in (_BLOBS, _PLACEMENTS, _MANIFESTS, _WAITING):
                database.run(statement, {**parameters, "first": first, "last": last})
    for table in _NUMBERED:
        database.run(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
        )
    # As autovacuum does within a minute. Until then PostgreSQL searches the trigram index of names
    # where it would use another one.
    database.run("VACUUM ANALYZE")


@contextmanager
def _without_indexes(database: Database) -> Iterator[None]:
    tables = {"tables": list(_FILLED)}
    constraints = database.read(_CONSTRAINTS, tables)
    for table, name, _, _ in constraints:
        database.run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    indexes = database.read(_INDEXES, tables)
    for name, _ in indexes:
        database.run(f"DROP INDEX {name}")
    for table in _FILLED:
        database.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table in _FILLED:
        database.run(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    for table, name, definition, is_reference in reversed(constraints):
        valid = " NOT VALID" if is_reference else ""
        database.run(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{valid}")
    for _, definition in indexes:
        database.run(definition)
    database.run(_VALID)


def blob_digest(number: int) -> Digest:
    """Return the digest of a generated blob."""
    return Digest.of(b"%d" % number)


def manifest_digest(number: int) -> Digest:
    """Return the digest of a generated manifest."""
    return Digest.of(b"manifest %d" % number)


def tag_name(number: int) -> str:
    """Return the name of a generated tag."""
    return f"tag-{number}"

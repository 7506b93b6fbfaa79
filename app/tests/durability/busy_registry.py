"""Fill a database with the records of a busy registry after a year."""

from __future__ import annotations

from atoll.db.pool import Database

# Sizes are numbers of rows. A larger registry differs by a constant factor only.
_STATEMENTS = (
    """INSERT INTO "user" (username) SELECT 'user' || n FROM generate_series(1, 20) n""",
    """INSERT INTO repository (namespace_user_id, name, visibility)
    SELECT u.id, 'app' || n, 'private' FROM "user" u, generate_series(1, 10) n
    WHERE u.username LIKE 'user%%'""",
    """INSERT INTO imagestorage (content_checksum, image_size, created_at)
    SELECT 'sha256:' || encode(sha256(n::text::bytea), 'hex'), 1000,
           now() - interval '1 year' * random()
    FROM generate_series(1, %(rows)s) n""",
    """INSERT INTO imagestorageplacement (storage_id, location_id, verified_at)
    SELECT s.id, l.id, now() - interval '20 days' * random()
    FROM imagestorage s, imagestoragelocation l""",
    """INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes, created_at,
                             pushed_at)
    SELECT r.id, 'sha256:' || encode(sha256((r.id || ' ' || n)::bytea), 'hex'),
           'application/vnd.oci.image.manifest.v1+json', '{}', pushed, pushed
    FROM repository r, LATERAL (
        SELECT n, now() - interval '1 year' * random() AS pushed
        FROM generate_series(1, %(rows)s / 200) n) AS image""",
    # Half of the blobs belong to a manifest.
    """INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
    SELECT m.repository_id, m.id, s.id
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM manifest) m
    JOIN (SELECT *, row_number() OVER (ORDER BY id) AS n FROM imagestorage) s ON s.n = 2 * m.n""",
    # Each tag was moved many times; only the last rows of its history are within the retention.
    """INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms, lifetime_end_ms)
    SELECT repository_id, name, id, start, start + 3600000 FROM (
        SELECT repository_id, 'tag' || hashtext(digest) %% 7 AS name, id,
               (extract(epoch FROM now() - interval '360 days' * random()) * 1000)::bigint AS start
        FROM manifest WHERE hashtext(digest) %% 3 <> 0) AS moved""",
    """INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
    SELECT DISTINCT ON (repository_id, hashtext(digest) %% 7) repository_id,
           'tag' || hashtext(digest) %% 7, id, 0
    FROM manifest""",
    """INSERT INTO logentry (kind, namespace, repository, performer, created_at)
    SELECT 'pull_repo', 'user1', 'app1', 'user2', now() - interval '1 year' * (1 - n / %(rows)s.0)
    FROM generate_series(1, %(rows)s) n""",
    """INSERT INTO oauthaccesstoken (user_id, token_hash, scope, expires_at)
    SELECT u.id, n::text, 'repo:read', now() - interval '11 months' + interval '1 year' * random()
    FROM generate_series(1, %(rows)s / 10) n, (SELECT id FROM "user" ORDER BY id LIMIT 1) u""",
    """INSERT INTO appspecifictoken (user_id, title, token_name, token_secret, expires_at)
    SELECT u.id, 'title', n::text, 'secret',
           now() - interval '11 months' + interval '1 year' * random()
    FROM generate_series(1, %(rows)s / 10) n, (SELECT id FROM "user" ORDER BY id LIMIT 1) u""",
    """INSERT INTO manifestpullstatistics
    SELECT r.id, 'sha256:' || encode(sha256((r.id || ' ' || n)::bytea), 'hex'), 1,
           now() - interval '2 days'
    FROM repository r, generate_series(1, %(rows)s / 100) n""",
    """INSERT INTO tagpullstatistics
    SELECT r.id, 'tag' || n, 1, now() - interval '2 days', 'sha256:' || n
    FROM repository r, generate_series(1, %(rows)s / 200) n""",
    """INSERT INTO verification (scope, changed_at, finished_at)
    SELECT '{}', day, day FROM generate_series(now() - interval '1 year', now(), '1 hour') day""",
    """INSERT INTO verificationfinding (verification_id, placement_id, verified_at, defect)
    SELECT v.id, p.id, p.verified_at, 'missing' FROM verification v
    JOIN (SELECT * FROM imagestorageplacement ORDER BY id LIMIT 1) p ON true""",
    """INSERT INTO contentdeletion (digest, location, deleted_at, announced_at)
    SELECT 'sha256:' || n, 'us', moment, moment FROM (
        SELECT n, now() - interval '1 year' * (1 - n / %(rows)s.0) AS moment
        FROM generate_series(1, %(rows)s) n) AS deletions""",
    """INSERT INTO blobupload (uuid, repository_id, ended, changed_at)
    SELECT gen_random_uuid(), (SELECT min(id) FROM repository), true,
           now() - interval '1 year' * random()
    FROM generate_series(1, %(rows)s / 20) n""",
)


_SEQUENCES = ("imagestorage", "imagestorageplacement", "manifest", "tag", "logentry")


def fill(database: Database, rows: int, *, spacing: int = 1) -> None:
    """Fill every table.

    Args:
        rows: the approximate number of rows of each large table.
        spacing: the distance between ids, as if the rows in between had been deleted.
    """
    for table in _SEQUENCES:
        database.run(f"ALTER SEQUENCE {table}_id_seq INCREMENT BY {spacing}")
    for statement in _STATEMENTS:
        database.run(statement, {"rows": rows})

"""Many placed blobs without objects, for tests of rules that depend on the database only."""

from __future__ import annotations

from atoll.db.pool import Database

_FORGET = """
DELETE FROM objectdeletion; DELETE FROM contentdeletion; DELETE FROM blobupload;
DELETE FROM replicationtask; DELETE FROM lostblob; DELETE FROM locationremoval;
DELETE FROM imagestorageplacement; DELETE FROM uploadedblob; DELETE FROM manifestblob;
DELETE FROM imagestorage;
UPDATE imagestoragelocation SET state = 'active';
INSERT INTO imagestoragelocation (name) SELECT unnest(%(locations)s::text[])
ON CONFLICT (name) DO NOTHING
"""

_PLACE = """
WITH repository AS (
    SELECT id FROM repository ORDER BY id LIMIT 1
), blob AS (
    INSERT INTO imagestorage (content_checksum, image_size)
    SELECT 'sha256:' || encode(sha256(%(name)s::bytea || n::text::bytea), 'hex'), 1
    FROM generate_series(1, %(count)s) n RETURNING id
), used AS (
    INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
    SELECT repository.id, blob.id, now() + interval '1 day' FROM repository, blob
)
INSERT INTO imagestorageplacement (storage_id, location_id)
SELECT blob.id, l.id FROM blob, imagestoragelocation l WHERE l.name = ANY(%(at)s)
"""

_WITHOUT_PLACEMENT = """
SELECT count(*) FROM imagestorage s WHERE NOT EXISTS (
    SELECT FROM imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE p.storage_id = s.id AND p.state = 'good' AND l.state <> 'removed')
"""


def reset_placements(database: Database, locations: list[str]) -> None:
    """Delete all blobs and make all `locations` active."""
    database.run(_FORGET, {"locations": locations})


def place_blobs(database: Database, count: int, at: list[str], name: str = "blob") -> None:
    """Create `count` blobs of the first repository, with a good placement at each of `at`."""
    database.run(_PLACE, {"count": count, "at": at, "name": name})


def blobs_without_placement(database: Database) -> int:
    """Return the number of blobs without a good placement at a location that is not removed."""
    return int(database.read(_WITHOUT_PLACEMENT)[0][0])


def placed_at(database: Database, location: str) -> int:
    """Return the number of placements at `location`, of any state."""
    rows = database.read(
        "SELECT count(*) FROM imagestorageplacement p"
        " JOIN imagestoragelocation l ON l.id = p.location_id WHERE l.name = %s",
        [location],
    )
    return int(rows[0][0])


def waiting_for_locks(database: Database) -> int:
    """Return the number of sessions that wait for a lock."""
    rows = database.read(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(rows[0][0])

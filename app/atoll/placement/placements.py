"""SQL that records placements, quarantines them, and looks up where a blob is.

Most are fragments that other modules combine with their own conditions, so that a request takes one
round trip. Fragments refer to a row of `imagestorage` by the alias `s`.
"""

from __future__ import annotations

from atoll.placement.location_locks import ACCEPTS_PLACEMENTS, TRY_LOCK_LOCATION_SHARED
from atoll.placement.locks import LOCK_DIGEST_SHARED
from atoll.placement.task_creation import DELETE_FOR_PLACED, create_for_blob

# Placements of blob `s`, in any state. A location that is being removed does not count.
_PLACEMENTS = """imagestorageplacement p JOIN imagestoragelocation l ON l.id = p.location_id
             WHERE p.storage_id = s.id AND l.state <> 'removed'"""

# A condition: blob `s` has a good copy. A blob whose copies are all quarantined counts as missing,
# so that clients push it again, which repairs it.
HAS_GOOD_COPY = f"""EXISTS (SELECT FROM {_PLACEMENTS} AND p.state = 'good')"""

# A condition: blob `s` has not even a quarantined copy.
HAS_NO_COPY = f"NOT EXISTS (SELECT FROM {_PLACEMENTS})"

# An expression: the names of the locations with a good copy of blob `s`, as an array.
GOOD_LOCATIONS = f"array(SELECT l.name FROM {_PLACEMENTS} AND p.state = 'good')"

# An expression: the copies of blob `s`, as a JSON list of [location, state, date of verification].
COPIES = f"""coalesce((
             SELECT jsonb_agg(jsonb_build_array(l.name, p.state, p.verified_at) ORDER BY l.name)
             FROM {_PLACEMENTS}), '[]')"""


def record_good(copies: str) -> str:
    """Return the statement that records good placements.

    Args:
        copies: a query for pairs of a blob's id and a location's id.
    """
    return f"""
    INSERT INTO imagestorageplacement (storage_id, location_id)
    {copies}
    ON CONFLICT (storage_id, location_id) DO UPDATE SET state = 'good', verified_at = now()"""


# Locks %(digest)s and %(location)s for a statement with `place_blob`, and precedes it in the same
# string.
LOCK_TO_PLACE = f"{LOCK_DIGEST_SHARED}\n{TRY_LOCK_LOCATION_SHARED}"

# A common table `location (id)`: %(location)s, unless it is being removed.
TARGET = f"""location AS (
    SELECT l.id FROM imagestoragelocation l WHERE l.name = %(location)s AND {ACCEPTS_PLACEMENTS}
)"""


def place_blob(upload: str) -> str:
    """Return common tables that create a blob, its placement, and tasks for further copies.

    They also remove the blob's tombstone and the task for the location itself. Expects `TARGET` and
    LOCK_TO_PLACE before it; takes %(digest)s, %(size)s in bytes, %(location)s, %(required)s, and
    %(expires_after)s in seconds or null. The common tables are `blob (id, image_size, is_new)`
    and `placement (storage_id)`.

    Args:
        upload: a common table with at most one row and the columns repository_id and
            expires_after_s. Nothing is placed if it is empty.
    """
    return f"""blob AS (
    INSERT INTO imagestorage (content_checksum, image_size, expires_after_s)
    SELECT %(digest)s, %(size)s, coalesce(%(expires_after)s::bigint, {upload}.expires_after_s)
    FROM {upload}
    ON CONFLICT (content_checksum) DO UPDATE SET image_size = EXCLUDED.image_size,
        tombstone_at = NULL,
        expires_after_s = coalesce(EXCLUDED.expires_after_s, imagestorage.expires_after_s)
    RETURNING id, image_size, xmax = 0 AS is_new  -- PostgreSQL sets xmax when it updates a row.
), placement AS ({record_good("SELECT blob.id, location.id FROM blob, location")}
    RETURNING storage_id
), tasks AS ({create_for_blob(f"(SELECT repository_id FROM {upload})")}
), copied AS ({DELETE_FOR_PLACED}
)"""


# A common table that removes the tombstone of the blob in the common table `blob (id)`. Its digest
# must be locked.
REMOVE_TOMBSTONE = """restored AS (
    UPDATE imagestorage SET tombstone_at = NULL FROM blob
    WHERE imagestorage.id = blob.id AND imagestorage.tombstone_at IS NOT NULL
)"""

# Removes the tombstones of several blobs, locking their rows in the order of their ids. The digests
# in %(blobs)s must be locked.
REMOVE_TOMBSTONES = """
UPDATE imagestorage SET tombstone_at = NULL FROM (
    SELECT id FROM imagestorage
    WHERE content_checksum = ANY(%(blobs)s) AND tombstone_at IS NOT NULL
    ORDER BY id FOR UPDATE) AS marked
WHERE imagestorage.id = marked.id;"""

# Quarantines placement %(id)s unless it was written again after %(verified_at)s, and creates a task
# to copy the blob again, if its location is one of those in the states %(kept)s and there is a good
# copy elsewhere.
QUARANTINE = """
WITH quarantined AS (
    UPDATE imagestorageplacement SET state = 'suspect'
    WHERE id = %(id)s AND verified_at = %(verified_at)s
    RETURNING storage_id, location_id
)
INSERT INTO replicationtask (storage_id, location_id)
SELECT q.storage_id, q.location_id
FROM quarantined q JOIN imagestoragelocation l ON l.id = q.location_id
WHERE l.state = ANY(%(kept)s) AND EXISTS (
    SELECT FROM imagestorageplacement o
    WHERE o.storage_id = q.storage_id AND o.location_id <> q.location_id AND o.state = 'good')
ON CONFLICT (storage_id, location_id) DO NOTHING
"""

"""SQL that creates and removes replication tasks together with the change that requires it.

The transaction that creates the need for a copy writes its task, so no crash can lose a copy that
is due.
"""

from __future__ import annotations

from atoll.placement.rules import required_in, urgent_in


def create_for_blob(repository: str) -> str:
    """Return the statement that creates the tasks of a blob that a repository begins to use.

    Creates a task for each location that the repository requires and that has no good copy.
    Expects a common table `blob (id, image_size)`, %(required)s, and %(location)s: the location
    where the blob was just placed, or null.

    Args:
        repository: an SQL expression for the repository's id.
    """
    return f"""
    INSERT INTO replicationtask (storage_id, location_id, image_size, urgent)
    SELECT blob.id, l.id, blob.image_size, {urgent_in(repository)}
    FROM blob CROSS JOIN imagestoragelocation l
    WHERE l.name IS DISTINCT FROM %(location)s::text AND {required_in(repository, "l")}
      AND NOT EXISTS (SELECT FROM imagestorageplacement p
                      WHERE p.storage_id = blob.id AND p.location_id = l.id AND p.state = 'good')
    ON CONFLICT (storage_id, location_id) DO UPDATE SET urgent = true
        WHERE EXCLUDED.urgent AND NOT replicationtask.urgent"""


# Removes the task for a location where its blob was just placed; its worker would overwrite a good
# object. A worker that holds the task notices that it is gone. Expects the common tables
# `blob (id)` and `location (id)`. Does not wait for a worker that is finishing the task.
DELETE_FOR_PLACED = """
    DELETE FROM replicationtask t WHERE t.id IN (
        SELECT t.id FROM replicationtask t, blob, location
        WHERE t.storage_id = blob.id AND t.location_id = location.id
        FOR UPDATE OF t SKIP LOCKED)"""

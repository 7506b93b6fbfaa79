"""Find missing required copies and create their tasks.

Statements examine one range of blobs each, so that their duration and memory are bounded and
progress is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database
from atoll.placement.rules import (
    allowed_of,
    possibly_required,
    required_of,
    required_of_all,
    urgent_of,
    used,
)

# Blobs that one statement examines.
BATCH = 20_000

# First finds absent copies, which are few, and then which of them are required. The range is
# repeated for placements, because the statement would read all of them otherwise.
_MISSING = f"""
targets AS MATERIALIZED (
    SELECT l.id, l.name, l.state, {required_of_all("l")} AS of_all FROM imagestoragelocation l
    WHERE {possibly_required("l")} AND (%(wanted)s::text[] IS NULL OR l.name = ANY(%(wanted)s))
), absent AS MATERIALIZED (
    SELECT s.id, s.uuid, s.image_size, t.id AS location_id, t.name, t.state, t.of_all
    FROM imagestorage s CROSS JOIN targets t
    WHERE s.id > %(after)s AND s.id <= %(until)s
      AND EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id
                  AND p.storage_id > %(after)s AND p.storage_id <= %(until)s)
      AND NOT EXISTS (SELECT FROM imagestorageplacement p
                      WHERE p.storage_id = s.id AND p.location_id = t.id AND p.state = 'good'
                      AND p.storage_id > %(after)s AND p.storage_id <= %(until)s)
), missing AS MATERIALIZED (
    SELECT a.* FROM absent a
    WHERE CASE WHEN a.of_all THEN {used("a.id")} ELSE {required_of("a.id", "a")} END
      AND (%(namespace)s::text IS NULL OR EXISTS (
          SELECT FROM manifestblob mb JOIN repository r ON r.id = mb.repository_id
          JOIN "user" n ON n.id = r.namespace_user_id
          WHERE mb.blob_id = a.id AND n.username = %(namespace)s))
)"""

_QUEUE = f"""
queued AS (
    INSERT INTO replicationtask (storage_id, location_id, image_size, urgent)
    SELECT id, location_id, image_size, {urgent_of("missing.id")} FROM missing
    ON CONFLICT (storage_id, location_id) """

# Missing copies are counted in the database: transferring a row for each takes as long as finding
# it.
_FOUND = """
SELECT name, count(*), sum(image_size)::bigint FROM missing GROUP BY name ORDER BY name"""
_NAMED = """
SELECT name, count(*), sum(image_size)::bigint, array_agg(uuid ORDER BY id)
FROM missing GROUP BY name ORDER BY name"""

_COUNT = f"WITH {_MISSING}"

# An operator who runs a backfill does not want to wait for the next attempt of a failed task.
_COUNT_AND_QUEUE = f"""
WITH {_MISSING}, {_QUEUE} DO UPDATE SET urgent = EXCLUDED.urgent, available_at = clock_timestamp()
    WHERE replicationtask.lease_token IS NULL
      AND (replicationtask.available_at > clock_timestamp()
           OR replicationtask.urgent <> EXCLUDED.urgent)
)"""

_RECONCILE = f"""
WITH {_MISSING}, {_QUEUE} DO NOTHING RETURNING id
) SELECT id FROM queued"""

# Deletes tasks for locations that a policy excludes now. A quarantined copy there keeps its task.
_DELETE_EXCLUDED = f"""
DELETE FROM replicationtask t USING imagestoragelocation l
WHERE l.id = t.location_id AND t.storage_id > %(after)s AND t.storage_id <= %(until)s
  AND EXISTS (SELECT FROM replicationpolicy x WHERE l.name = ANY(x.excluded))
  AND (t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM imagestorageplacement p
                  WHERE p.storage_id = t.storage_id AND p.location_id = t.location_id)
  AND NOT {allowed_of("t.storage_id", "l")};
"""

# Deletes tasks of blobs without any copy, which were lost with a location. A push creates them
# again.
_DELETE_LOST = """
DELETE FROM replicationtask t
WHERE t.storage_id > %(after)s AND t.storage_id <= %(until)s
  AND (t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = t.storage_id
                  AND p.storage_id > %(after)s AND p.storage_id <= %(until)s);
"""
_DELETE_OBSOLETE = _DELETE_EXCLUDED + _DELETE_LOST

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"


@dataclass(frozen=True)
class Missing:
    """Missing required copies at one location.

    Attributes:
        location: the location.
        blobs: number of missing copies.
        bytes: their bytes.
        uuids: Quay's identifiers of the blobs, if requested.
    """

    location: str
    blobs: int
    bytes: int
    uuids: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Step:
    """Missing copies of blobs up to the id `done`; `last` is the greatest id."""

    found: list[Missing]
    done: int
    last: int


def backfill(
    database: Database,
    required: list[str],
    *,
    wanted: list[str] | None = None,
    namespace: str | None = None,
    queue: bool = True,
    uuids: bool = False,
    after: int = 0,
    until: int | None = None,
    batch: int = BATCH,
) -> Iterator[Step]:
    """Yield the missing required copies of each range of blobs.

    Args:
        database: where the placements are.
        required: the default locations.
        wanted: the locations to examine, None for all.
        namespace: examines only blobs of this namespace's images.
        queue: whether to create the missing tasks, and delete tasks at excluded locations.
        uuids: whether to return the identifier of each blob.
        after: examines only blobs with greater ids.
        until: the last id to examine, None for all blobs.
        batch: blobs that one statement examines.

    Raises:
        DatabaseUnavailable: tasks of earlier ranges remain.
    """
    last = int(database.read(_LAST)[0][0])
    if until is not None:
        last = min(last, until)
    statement = _DELETE_OBSOLETE + _COUNT_AND_QUEUE if queue else _COUNT
    statement += _NAMED if uuids else _FOUND
    for start in range(after, last, batch):
        end = min(start + batch, last)
        rows = database.run(
            statement,
            {
                "after": start,
                "until": end,
                "required": required,
                "wanted": wanted,
                "namespace": namespace,
            },
        )
        found = [Missing(*row[:3], *(tuple(one) for one in row[3:])) for row in rows]
        yield Step(found, end, last)


class Reconciler:
    """Creates missing tasks, in addition to the transactions that require copies.

    It finds missing tasks only for new locations and because of bugs. All blobs are examined when a
    process starts, and then one range at a time, because a million blobs take seconds.
    """

    def __init__(self, database: Database, required: list[str], *, batch: int = BATCH) -> None:
        self._database = database
        self._required = required
        self._batch = batch
        self._after = 0

    def everything(self) -> int:
        """Examine all blobs and return the number of created tasks."""
        self._after = 0
        made = self.step()
        while self._after:
            made += self.step()
        return made

    def step(self) -> int:
        """Examine the next range of blobs and return the number of created tasks."""
        last = int(self._database.read(_LAST)[0][0])
        until = min(self._after + self._batch, last)
        made = self._database.run(
            _DELETE_OBSOLETE + _RECONCILE,
            {
                "after": self._after,
                "until": until,
                "required": self._required,
                "wanted": None,
                "namespace": None,
            },
        )
        self._after = 0 if until >= last else until
        return len(made)

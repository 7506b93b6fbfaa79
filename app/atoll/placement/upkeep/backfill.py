"""Find what is required and not placed, and make tasks of it: for new locations, and for certainty.

One statement looks at a range of blobs, so that no statement is long, nothing is held in memory and
progress is known, however many blobs there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from atoll.db.pool import Database
from atoll.placement.rules import (
    allowed_of,
    perhaps_required,
    required_of,
    required_of_all,
    urgent_of,
    used,
)

# Blobs that one statement looks at.
BATCH = 20_000

# What is not there first, for that is little, and then what of it is required. The range stands at
# the placements, too, or each statement would read them all.
_MISSING = f"""
targets AS MATERIALIZED (
    SELECT l.id, l.name, l.state, {required_of_all("l")} AS of_all FROM imagestoragelocation l
    WHERE {perhaps_required("l")} AND (%(wanted)s::text[] IS NULL OR l.name = ANY(%(wanted)s))
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

# What is missing is counted there: to bring a row for each blob here takes as long as to find it.
_FOUND = """
SELECT name, count(*), sum(image_size)::bigint FROM missing GROUP BY name ORDER BY name"""
_NAMED = """
SELECT name, count(*), sum(image_size)::bigint, array_agg(uuid ORDER BY id)
FROM missing GROUP BY name ORDER BY name"""

_ONLY_LOOK = f"WITH {_MISSING}"

# Whoever asks for it does not want to wait for the next attempt of a task that failed.
_LOOK_AND_QUEUE = f"""
WITH {_MISSING}, {_QUEUE} DO UPDATE SET urgent = EXCLUDED.urgent, available_at = clock_timestamp()
    WHERE replicationtask.lease_token IS NULL
      AND (replicationtask.available_at > clock_timestamp()
           OR replicationtask.urgent <> EXCLUDED.urgent)
)"""

_RECONCILE = f"""
WITH {_MISSING}, {_QUEUE} DO NOTHING RETURNING id
) SELECT id FROM queued"""

# A policy may exclude what a task was made for before. What is being written anew is where it is.
_FORGET_EXCLUDED = f"""
DELETE FROM replicationtask t USING imagestoragelocation l
WHERE l.id = t.location_id AND t.storage_id > %(after)s AND t.storage_id <= %(until)s
  AND EXISTS (SELECT FROM replicationpolicy x WHERE l.name = ANY(x.excluded))
  AND (t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM imagestorageplacement p
                  WHERE p.storage_id = t.storage_id AND p.location_id = t.location_id)
  AND NOT {allowed_of("t.storage_id", "l")};
"""

# What is nowhere cannot be copied: it was lost with a location, and a push makes its tasks anew.
_FORGET_LOST = """
DELETE FROM replicationtask t
WHERE t.storage_id > %(after)s AND t.storage_id <= %(until)s
  AND (t.lease_expires IS NULL OR t.lease_expires <= clock_timestamp())
  AND NOT EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = t.storage_id
                  AND p.storage_id > %(after)s AND p.storage_id <= %(until)s);
"""
_FORGET = _FORGET_EXCLUDED + _FORGET_LOST

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorage"


@dataclass(frozen=True)
class Missing:
    """BLOBS that are not at LOCATION and must be, their BYTES, and if asked for Quay's UUIDS."""

    location: str
    blobs: int
    bytes: int
    uuids: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Step:
    """What one statement found among the blobs up to the id DONE; LAST is the greatest id."""

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
    until: int | None = None,
    batch: int = BATCH,
) -> Iterator[Step]:
    """Go through all blobs, and yield for each range of them what is missing where.

    REQUIRED are the default locations; policies add others. With QUEUE each of what is missing has
    a task afterwards, and no task is left where policies exclude it. WANTED and NAMESPACE limit it
    to these locations and to blobs of its images, UNTIL to blobs up to that id; UUIDS names each
    blob. Raises DatabaseUnavailable; what was queued stays so.
    """
    last = int(database.read(_LAST)[0][0])
    if until is not None:
        last = min(last, until)
    statement = _FORGET + _LOOK_AND_QUEUE if queue else _ONLY_LOOK
    statement += _NAMED if uuids else _FOUND
    for after in range(0, last, batch):
        end = min(after + batch, last)
        rows = database.run(
            statement,
            {
                "after": after,
                "until": end,
                "required": required,
                "wanted": wanted,
                "namespace": namespace,
            },
        )
        found = [Missing(*row[:3], *(tuple(one) for one in row[3:])) for row in rows]
        yield Step(found, end, last)


class Reconciler:
    """Makes the tasks that are missing, though what creates a need writes its task.

    It finds something only for new locations and bugs: all at the start of a process, and after
    that a range of blobs at a time, for looking at a million costs seconds.
    """

    def __init__(self, database: Database, required: list[str], *, batch: int = BATCH) -> None:
        self._database = database
        self._required = required
        self._batch = batch
        self._after = 0

    def everything(self) -> int:
        """Look at all blobs; return how many tasks were missing."""
        self._after = 0
        made = self.step()
        while self._after:
            made += self.step()
        return made

    def step(self) -> int:
        """Look at the next blobs, from the first again after the last."""
        last = int(self._database.read(_LAST)[0][0])
        until = min(self._after + self._batch, last)
        made = self._database.run(
            _FORGET + _RECONCILE,
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

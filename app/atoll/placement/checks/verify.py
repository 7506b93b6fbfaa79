"""Verify placed blobs in the stores: existence and size, or all bytes.

A run examines placements in ranges of their ids. Each range is verified in parallel and recorded by
one statement together with the run's position, so that an interrupted run can be resumed. A
verification changes only `verified_at`; `repair` acts on the findings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from atoll.db.pool import Database
from atoll.names import Digest
from atoll.rate_limit import RateLimiter
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreError
from atoll.storage.health import StoreHealth
from atoll.storage.object_check import inspect

# Placements of one range. A full verification has smaller ranges, because reading takes long and
# everything since the last record is verified again after a crash.
BATCH, FULL_BATCH = 2000, 100
# Objects verified in parallel. Each has one piece in memory.
THREADS = 8
# The recorded result of a quarantined placement whose bytes are right.
INTACT = "sound"
_KEPT_DAYS = 30
# Rows of old runs that one statement deletes.
_FORGOTTEN_RUNS, _FORGOTTEN_FINDINGS = 1000, 10_000

_BEGIN = "INSERT INTO verification (scope) VALUES (%(scope)s) RETURNING id"

# A run is deleted after its findings, of which there may be millions; a cascade has no limit.
_FORGET = """
WITH old AS (
    SELECT id FROM verification
    WHERE changed_at < clock_timestamp() - make_interval(days => %(days)s)
    ORDER BY changed_at LIMIT %(runs)s FOR UPDATE SKIP LOCKED
), findings AS (
    DELETE FROM verificationfinding f USING (
        SELECT verification_id, placement_id FROM verificationfinding
        WHERE verification_id IN (SELECT id FROM old) LIMIT %(findings)s) batch
    WHERE f.verification_id = batch.verification_id AND f.placement_id = batch.placement_id
    RETURNING f.placement_id
), runs AS (
    DELETE FROM verification v USING old WHERE v.id = old.id
      AND NOT EXISTS (SELECT FROM verificationfinding f WHERE f.verification_id = v.id)
    RETURNING v.id
)
SELECT (SELECT count(*) FROM findings) + (SELECT count(*) FROM runs)
"""

_RESUME = """
SELECT id, counts, done FROM verification WHERE scope = %(scope)s ORDER BY id DESC LIMIT 1
"""

_LAST = "SELECT coalesce(max(id), 0) FROM imagestorageplacement"

# The columns of `PlacementCheck.from_row`: placement `p` of blob `s` at location `l`.
COLUMNS = "p.id, l.name, s.content_checksum, s.image_size, p.state <> 'good', p.verified_at"

_RANGE = f"""
SELECT {COLUMNS}
FROM imagestorageplacement p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
WHERE p.id > %(after)s AND p.id <= %(until)s AND l.state <> 'removed'
  AND (%(location)s::text IS NULL OR l.name = %(location)s)
  AND (hashtextextended(p.id::text, %(run)s) & 1048575) < %(sample)s::float8 / 100 * 1048576
  AND (%(namespace)s::text IS NULL OR EXISTS (
      SELECT FROM manifestblob mb JOIN repository r ON r.id = mb.repository_id
      JOIN "user" n ON n.id = r.namespace_user_id
      WHERE mb.blob_id = s.id AND n.username = %(namespace)s))
ORDER BY p.id
"""

# Skips copies that were written again after the read. Rows are locked in the order of their ids.
_RECORD_INTACT = """
WITH verified AS (
    UPDATE imagestorageplacement p SET verified_at = clock_timestamp()
    FROM (SELECT p.id FROM imagestorageplacement p
          JOIN unnest(%(hashed)s::bigint[], %(hashed_seen)s::timestamptz[])
               AS checked (id, verified_at)
            ON p.id = checked.id AND p.verified_at = checked.verified_at
          ORDER BY p.id FOR NO KEY UPDATE OF p) AS locked
    WHERE p.id = locked.id
    RETURNING p.storage_id, p.location_id
)
DELETE FROM placementdoubt d USING verified
WHERE d.storage_id = verified.storage_id AND d.location_id = verified.location_id;
"""

_RECORD = f"""
{_RECORD_INTACT}
INSERT INTO verificationfinding (verification_id, placement_id, verified_at, defect)
SELECT %(run)s, p.id, p.verified_at, checked.defect
FROM unnest(%(wrong)s::bigint[], %(wrong_seen)s::timestamptz[], %(defects)s::text[])
     AS checked (id, verified_at, defect)
JOIN imagestorageplacement p ON p.id = checked.id AND p.verified_at = checked.verified_at
ON CONFLICT (verification_id, placement_id) DO NOTHING;
UPDATE verification SET done = %(done)s, counts = %(counts)s, changed_at = clock_timestamp(),
    finished_at = CASE WHEN %(finished)s THEN clock_timestamp() END
WHERE id = %(run)s
"""


@dataclass(frozen=True)
class Scope:
    """The placements that a run examines.

    Attributes:
        location: only those at this location.
        namespace: only those of this namespace's blobs.
        sample: percentage of placements.
        full: whether all bytes are read.
        inventory: whether the placements were compared with the list of the store.
    """

    location: str | None = None
    namespace: str | None = None
    sample: float = 100
    full: bool = False
    inventory: bool = False


@dataclass
class Count:
    """Results at one location.

    Attributes:
        verified: intact placements.
        bytes: bytes hashed for them.
        missing: placements without an object.
        wrong_size: objects of another size.
        wrong_digest: objects with other bytes.
        sound: quarantined placements that are intact.
        not_verified: placements that could not be verified because of the store.
    """

    verified: int = 0
    bytes: int = 0
    missing: int = 0
    wrong_size: int = 0
    wrong_digest: int = 0
    sound: int = 0
    not_verified: int = 0

    @property
    def wrong(self) -> int:
        """The number of defective placements."""
        return self.missing + self.wrong_size + self.wrong_digest


@dataclass
class Run:
    """A run of the verification, its position in ids of placements, and its results."""

    id: int
    scope: Scope
    done: int = 0
    last: int = 0
    counts: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacementCheck:
    """A placement to verify, and the result of its verification.

    Attributes:
        id: the placement's key.
        location: the location.
        digest: the blob's digest.
        size: the blob's size in bytes.
        quarantined: whether the placement is in quarantine.
        verified_at: when the copy was last known to be intact.
        result: a Defect, INTACT if the copy is quarantined but intact, or None.
        hashed: whether all bytes were read.
        unreachable: why the copy could not be verified.
    """

    id: int
    location: str
    digest: Digest
    size: int
    quarantined: bool
    verified_at: datetime
    result: str | None = None
    hashed: bool = False
    unreachable: str | None = None

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> PlacementCheck:
        """Return the unverified placement of a row of COLUMNS."""
        id_, location, digest, size, quarantined, verified_at = row
        return cls(id_, location, Digest.parse(digest), size, quarantined, verified_at)


def begin(database: Database, scope: Scope) -> Run:
    """Begin a run."""
    return Run(database.run(_BEGIN, {"scope": json.dumps(asdict(scope))})[0][0], scope)


def forget_old_runs(database: Database) -> bool:
    """Delete a batch of findings and runs that are older than 30 days.

    Returns:
        True if there may be more.
    """
    parameters = {"days": _KEPT_DAYS, "runs": _FORGOTTEN_RUNS, "findings": _FORGOTTEN_FINDINGS}
    return bool(database.run(_FORGET, parameters)[0][0])


def latest_run(database: Database, scope: Scope) -> Run | None:
    """Return the latest run of the same scope, None if there is none."""
    rows = database.read(_RESUME, {"scope": json.dumps(asdict(scope))})
    if not rows:
        return None
    run_id, counts, done = rows[0]
    return Run(run_id, scope, done, counts={name: Count(**found) for name, found in counts.items()})


class Verifier:
    """Verifies placements.

    Args:
        database: where the placements are.
        stores: the stores by location.
        health: knows which stores are available.
        limit: limits the bytes read per second.
        batch: placements of one range, None for the defaults.
    """

    def __init__(
        self,
        database: Database,
        stores: Mapping[str, ObjectStore],
        health: StoreHealth,
        limit: RateLimiter,
        *,
        batch: int | None = None,
    ) -> None:
        self._database = database
        self._stores = stores
        self._health = health
        self._limit = limit
        self._batch = batch

    def verify(self, run: Run) -> Iterator[Run]:
        """Verify the remaining placements of a run, and yield the run after each range.

        Raises:
            DatabaseUnavailable: the run can be resumed.
        """
        batch = self._batch or (FULL_BATCH if run.scope.full else BATCH)
        run.last = int(self._database.read(_LAST)[0][0])
        with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as executor:
            while run.done < run.last:
                until = min(run.done + batch, run.last)
                found = self._range(run, until)
                checks = list(executor.map(partial(self.check, full=run.scope.full), found))
                run.done = until
                record(self._database, run, checks)
                yield run

    def reachable(self, location: str) -> bool:
        """Return whether copies at a location can be read now, as far as is known."""
        return location in self._stores and self._health.is_up(location)

    def check(self, placement: PlacementCheck, *, full: bool) -> PlacementCheck:
        """Verify one placement. All bytes of a quarantined copy are read."""
        store = self._stores.get(placement.location)
        if store is None:
            return replace(placement, unreachable="it is not in this site's bundle")
        if not self._health.is_up(placement.location):
            return replace(placement, unreachable="its store is down")
        full = full or placement.quarantined
        try:
            defect = inspect(store, placement.digest, placement.size, full=full, limit=self._limit)
        except StoreError as error:
            return replace(placement, unreachable=str(error))
        if defect is not None:
            return replace(placement, result=defect.value)
        if placement.quarantined:
            return replace(placement, result=INTACT)
        return replace(placement, hashed=full)

    def _range(self, run: Run, until: int) -> list[PlacementCheck]:
        rows = self._database.read(
            _RANGE, {**asdict(run.scope), "run": run.id, "after": run.done, "until": until}
        )
        return [PlacementCheck.from_row(row) for row in rows]


def record_intact(database: Database, checks: list[PlacementCheck]) -> None:
    """Record that hashed copies are intact now, and delete doubts about them."""
    database.run(_RECORD_INTACT, _hashed(checks))


def record(database: Database, run: Run, checks: list[PlacementCheck]) -> None:
    """Record the results of a range and the position of the run, in one round trip."""
    for one in checks:
        count(run.counts.setdefault(one.location, Count()), one)
    wrong = [one for one in checks if one.result is not None]
    database.run(
        _RECORD,
        {
            **_hashed(checks),
            "run": run.id,
            "done": run.done,
            "finished": run.done >= run.last,
            "counts": json.dumps({name: asdict(found) for name, found in run.counts.items()}),
            "wrong": [one.id for one in wrong],
            "wrong_seen": [one.verified_at for one in wrong],
            "defects": [one.result for one in wrong],
        },
    )


def _hashed(checks: list[PlacementCheck]) -> dict[str, object]:
    right = [one for one in checks if one.hashed]
    return {
        "hashed": [one.id for one in right],
        "hashed_seen": [one.verified_at for one in right],
    }


def count(counted: Count, check: PlacementCheck) -> None:
    """Add one result."""
    if check.unreachable is not None:
        counted.not_verified += 1
    elif check.result is None:
        counted.verified += 1
        counted.bytes += check.size if check.hashed else 0
    else:
        name = check.result.replace(" ", "_")
        setattr(counted, name, getattr(counted, name) + 1)

"""Report the progress of the scrub, runs of the verification, and copies that are not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from atoll.db.pool import Database
from atoll.placement.checks.verify import Count, Scope

_PASSES = """
SELECT l.name, l.state, pass.started_at, pass.looked_at
FROM imagestoragelocation l
LEFT JOIN scrubpass pass ON pass.location_id = l.id AND pass.state = 'good'
ORDER BY l.id
"""

# A run examines placements in the order of their ids.
_RUNS = """
SELECT id, scope, counts, started_at, changed_at, finished_at,
       least(1.0, done::float8 / greatest(1, (SELECT max(id) FROM imagestorageplacement)))
FROM verification ORDER BY id DESC LIMIT %(limit)s
"""

# In the order of the index, so that the cost depends on the limit only. PostgreSQL may answer an
# EXISTS by reading all good copies first.
_QUARANTINED = """
SELECT s.content_checksum, l.name, s.image_size, p.verified_at, (
    SELECT count(*) FROM imagestorageplacement good
    JOIN imagestoragelocation elsewhere ON elsewhere.id = good.location_id
    WHERE good.storage_id = p.storage_id AND good.state = 'good'
      AND elsewhere.state <> 'removed') > 0
FROM (SELECT storage_id, location_id, verified_at, id FROM imagestorageplacement
      WHERE state = 'suspect' ORDER BY location_id, verified_at, id LIMIT %(limit)s) AS p
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
ORDER BY p.location_id, p.verified_at, p.id
"""

# The latest findings. One holds until the copy is written or found right, which changes
# `verified_at`.
_FINDINGS = """
SELECT f.verification_id, s.content_checksum, l.name, s.image_size, f.defect,
       p.verified_at = f.verified_at
FROM (SELECT * FROM verificationfinding
      ORDER BY verification_id DESC, placement_id DESC LIMIT %(limit)s) AS f
JOIN imagestorageplacement p ON p.id = f.placement_id
JOIN imagestorage s ON s.id = p.storage_id JOIN imagestoragelocation l ON l.id = p.location_id
ORDER BY f.verification_id DESC, f.placement_id DESC
"""

_DOUBTED = """
SELECT s.content_checksum, l.name, s.image_size, d.doubted_at, d.doubted_by, d.reason, d.looked_at
FROM (SELECT * FROM placementdoubt ORDER BY location_id, doubted_at LIMIT %(limit)s) AS d
JOIN imagestorage s ON s.id = d.storage_id JOIN imagestoragelocation l ON l.id = d.location_id
ORDER BY d.location_id, d.doubted_at
"""


@dataclass(frozen=True)
class ScrubPass:
    """The present pass of a location's scrub over its good copies; times are None before it."""

    location: str
    state: str
    started_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True)
class VerificationRun:
    """A run of `atoll verify` or of the comparison with an inventory.

    Attributes:
        id: Its key.
        scope: The placements that it examines.
        counts: Its results by location.
        started_at: When it was started.
        changed_at: When it last made progress.
        finished_at: When it ended; None while it runs, and if it was interrupted.
        progress: The share of placements that it has passed, from 0 to 1.
    """

    id: int
    scope: Scope
    counts: Mapping[str, Count]
    started_at: datetime
    changed_at: datetime
    finished_at: datetime | None
    progress: float


@dataclass(frozen=True)
class Finding:
    """A copy that a run found defective.

    Attributes:
        run: The key of the run.
        digest: The digest of the blob.
        location: The location of the copy.
        size: The size of the blob in bytes.
        defect: `missing`, `wrong size`, `wrong digest`, or `sound` for a right one in quarantine.
        holds: Whether the copy was neither replaced nor found right since.
    """

    run: int
    digest: str
    location: str
    size: int
    defect: str
    holds: bool


@dataclass(frozen=True)
class QuarantinedCopy:
    """A copy in quarantine, which was last right at `verified_at`; `size` is in bytes."""

    digest: str
    location: str
    size: int
    verified_at: datetime
    good_elsewhere: bool


@dataclass(frozen=True)
class DoubtedCopy:
    """A copy that the site `doubted_by` found wrong, and that its own site has to read.

    Attributes:
        digest: The digest of the blob.
        location: The location of the copy.
        size: The size of the blob in bytes.
        doubted_at: When it was found wrong.
        doubted_by: The location of the site that found it wrong.
        reason: Why.
        attempted_at: When its own site last failed to read it; None if it did not try.
    """

    digest: str
    location: str
    size: int
    doubted_at: datetime
    doubted_by: str
    reason: str
    attempted_at: datetime | None


class VerificationStatus:
    """Reports what is verified, and what was found.

    Each method runs one statement, and raises DatabaseUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def passes(self) -> list[ScrubPass]:
        """Return the present pass of each location's scrub."""
        return [ScrubPass(*row) for row in self._database.read(_PASSES)]

    def runs(self, limit: int) -> list[VerificationRun]:
        """Return the latest runs, the last one first."""
        return [
            VerificationRun(
                id_,
                Scope(**scope),
                {name: Count(**found) for name, found in counts.items()},
                started,
                changed,
                finished,
                1.0 if finished else progress or 0.0,
            )
            for id_, scope, counts, started, changed, finished, progress in self._database.read(
                _RUNS, {"limit": limit}
            )
        ]

    def findings(self, limit: int) -> list[Finding]:
        """Return what the latest runs found, the last findings first."""
        return [Finding(*row) for row in self._database.read(_FINDINGS, {"limit": limit})]

    def quarantined(self, limit: int) -> list[QuarantinedCopy]:
        """Return copies in quarantine by location, those first that were right longest ago."""
        return [
            QuarantinedCopy(*row) for row in self._database.read(_QUARANTINED, {"limit": limit})
        ]

    def doubted(self, limit: int) -> list[DoubtedCopy]:
        """Return doubted copies by location, the oldest doubts first."""
        return [DoubtedCopy(*row) for row in self._database.read(_DOUBTED, {"limit": limit})]

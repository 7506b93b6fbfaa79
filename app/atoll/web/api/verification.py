"""`superuser/verification`: the scrub, runs of the verification, and copies that are wrong."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.placement.checks.verification_status import VerificationRun, VerificationStatus
from atoll.placement.locations.contents import ContentsQuery, LocationContents
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import optional_utc, utc


class VerificationQuery(RequestModel):
    """The numbers of runs and of copies that are listed."""

    runs: int = Field(default=10, ge=0, le=100)
    limit: int = Field(default=50, ge=0, le=500)


class ScrubSchema(TypedDict):
    """The scrub of a location; all of its good copies were read and hashed after `verified_since`.

    Its present pass began at `pass_started_at` and read a copy last at `read_at`.
    """

    location: str
    state: str
    verified_since: str | None
    pass_started_at: str | None
    read_at: str | None
    quarantined: int
    doubted: int


class VerificationCountSchema(TypedDict):
    """The copies that a run examined at a location; `bytes` were read for those verified.

    `sound` copies are in quarantine although they are right. `not_verified` ones could not be read.
    """

    location: str
    verified: int
    bytes: int
    missing: int
    wrong_size: int
    wrong_digest: int
    sound: int
    not_verified: int


class VerificationRunSchema(TypedDict):
    """A run of `atoll verify`, and its progress from 0 to 1.

    It examines `sample` per cent of the copies, at one location or of one namespace's images unless
    these are null. It reads all bytes if it is `full`. A `sample` of 0 is what a background check,
    such as the scrub, put in quarantine or restored. `finished_at` is null while it runs, and
    after it was interrupted.
    """

    id: int
    location: str | None
    namespace: str | None
    sample: float
    full: bool
    inventory: bool
    started_at: str
    changed_at: str
    finished_at: str | None
    progress: float
    counts: list[VerificationCountSchema]


class FindingSchema(TypedDict):
    """A defective copy of a run, which `holds` until the copy is replaced or found right.

    `defect` is `missing`, `wrong size`, `wrong digest`, or `sound` for a right copy in quarantine.
    """

    run: int
    digest: str
    location: str
    bytes: int
    defect: str
    holds: bool


class QuarantinedSchema(TypedDict):
    """A copy in quarantine, which was last found right at `verified_at`."""

    digest: str
    location: str
    bytes: int
    verified_at: str
    good_elsewhere: bool


class DoubtedSchema(TypedDict):
    """A copy that the site of location `doubted_by` found wrong, to be read by its own site."""

    digest: str
    location: str
    bytes: int
    doubted_at: str
    doubted_by: str
    reason: str
    attempted_at: str | None


class VerificationSchema(TypedDict):
    """The scrub with its settings, the latest runs, and copies that are not trusted.

    The scrub reads `bytes_per_second` at each site, 0 if it is disabled, and each copy again after
    `interval_seconds`.
    """

    bytes_per_second: int
    interval_seconds: float
    locations: list[ScrubSchema]
    runs: list[VerificationRunSchema]
    findings: list[FindingSchema]
    quarantined: list[QuarantinedSchema]
    doubted: list[DoubtedSchema]


class SuperuserVerification:
    """`superuser/verification`. It runs a few statements, and sends no request to a store."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._status = VerificationStatus(database)
        self._contents = ContentsQuery(database)
        self._rate = bundle.background_verification_rate
        self._interval = bundle.background_verification_interval

    @operation(
        "getVerification", query=VerificationQuery, response=VerificationSchema, scope="super:user"
    )
    def on_get(self, call: Call) -> Any:
        """Get the progress of the scrub, the latest runs of the verification, and wrong copies."""
        call.require_superuser()
        query: VerificationQuery = call.query
        contents = self._contents.run()
        return {
            "bytes_per_second": self._rate,
            "interval_seconds": self._interval,
            "locations": [
                {
                    "location": one.location,
                    "state": one.state,
                    "pass_started_at": optional_utc(one.started_at),
                    "read_at": optional_utc(one.read_at),
                    **_found(contents.get(one.location)),
                }
                for one in self._status.passes()
            ],
            "runs": [_run(one) for one in self._status.runs(query.runs)],
            "findings": [
                {
                    "run": one.run,
                    "digest": one.digest,
                    "location": one.location,
                    "bytes": one.size,
                    "defect": one.defect,
                    "holds": one.holds,
                }
                for one in self._status.findings(query.limit)
            ],
            "quarantined": [
                {
                    "digest": one.digest,
                    "location": one.location,
                    "bytes": one.size,
                    "verified_at": utc(one.verified_at),
                    "good_elsewhere": one.good_elsewhere,
                }
                for one in self._status.quarantined(query.limit)
            ],
            "doubted": [
                {
                    "digest": one.digest,
                    "location": one.location,
                    "bytes": one.size,
                    "doubted_at": utc(one.doubted_at),
                    "doubted_by": one.doubted_by,
                    "reason": one.reason,
                    "attempted_at": optional_utc(one.attempted_at),
                }
                for one in self._status.doubted(query.limit)
            ],
        }


def _found(contents: LocationContents | None) -> dict[str, Any]:
    """Return the fields of a location's copies; one registered a moment ago has none."""
    if contents is None:
        return {"verified_since": None, "quarantined": 0, "doubted": 0}
    return {
        "verified_since": optional_utc(contents.verified_since),
        "quarantined": contents.quarantined,
        "doubted": contents.doubted,
    }


def _run(run: VerificationRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "location": run.scope.location,
        "namespace": run.scope.namespace,
        "sample": run.scope.sample,
        "full": run.scope.full,
        "inventory": run.scope.inventory,
        "started_at": utc(run.started_at),
        "changed_at": utc(run.changed_at),
        "finished_at": optional_utc(run.finished_at),
        "progress": run.progress,
        "counts": [{"location": name, **asdict(one)} for name, one in sorted(run.counts.items())],
    }

"""`superuser/replication`: pending copies of each location, failing tasks, and the history."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.placement.replication_status import LocationReplication, ReplicationStatus
from atoll.placement.upkeep.failing_tasks import FailingTask, FailingTasks
from atoll.placement.upkeep.lag_samples import HOURS_MAXIMUM, POINTS_MAXIMUM, LagSamples
from atoll.web.api.errors import NotFound
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import utc

NAME_MAXIMUM = 255


class ReplicationQuery(RequestModel):
    """The location, by default all, and the page of the list of failing tasks."""

    location: str | None = Field(default=None, max_length=NAME_MAXIMUM)
    limit: int = Field(default=50, ge=1, le=500)
    next_page: int = Field(default=0, ge=0, lt=2**63)


class ReplicationLocationSchema(TypedDict):
    """The pending work of a location.

    The rates are the decrease of pending copies in the last five minutes, negative while they
    increase, and null without samples. `eta_seconds` is the time until nothing is pending at that
    rate, null if it is unknown. Urgent blobs are counted up to 400,000.
    """

    location: str
    state: str
    pending_blobs: int
    pending_bytes: int
    oldest_seconds: float
    failing_blobs: int
    last_error: str | None
    urgent_blobs: int
    blobs_per_second: float | None
    bytes_per_second: float | None
    eta_seconds: float | None
    objects_to_delete: int


class FailingTaskSchema(TypedDict):
    """A pending copy whose last attempt failed; `next_attempt_at` is null during an attempt."""

    id: int
    location: str
    digest: str
    bytes: int
    attempts: int
    urgent: bool
    last_error: str
    created_at: str
    next_attempt_at: str | None


class PolicyCountsSchema(TypedDict):
    """The numbers of policies of namespaces and of repositories."""

    namespaces: int
    repositories: int


class ReplicationSchema(TypedDict):
    """The pending work of locations, and a page of failing tasks, the oldest first."""

    locations: list[ReplicationLocationSchema]
    failing: list[FailingTaskSchema]
    policies: PolicyCountsSchema
    next_page: NotRequired[str]


class LagQuery(RequestModel):
    """The period in hours until now, the location (by default all), and the points of a curve."""

    hours: int = Field(default=1, ge=1, le=HOURS_MAXIMUM)
    points: int = Field(default=POINTS_MAXIMUM, ge=1, le=POINTS_MAXIMUM)
    location: str | None = Field(default=None, max_length=NAME_MAXIMUM)


class LagPointSchema(TypedDict):
    """The greatest lag in the interval that starts at `at`.

    `blobs` and `bytes` are missing copies, `seconds` the age of the oldest one.
    """

    at: str
    blobs: int
    bytes: int
    seconds: float


class LagCurveSchema(TypedDict):
    """The lag of a location, in order of time."""

    location: str
    samples: list[LagPointSchema]


class LagCurvesSchema(TypedDict):
    """The lag of locations over a period; there are no samples while no worker ran."""

    hours: int
    interval_seconds: int
    locations: list[LagCurveSchema]


class Replication:
    """`superuser/replication`. It runs a few statements, and sends no request to a store."""

    def __init__(self, database: Database) -> None:
        self._status = ReplicationStatus(database)
        self._tasks = FailingTasks(database)

    @operation(
        "getReplication", query=ReplicationQuery, response=ReplicationSchema, scope="super:user"
    )
    def on_get(self, call: Call) -> Any:
        """Get pending copies, rates and remaining times by location, and list failing tasks."""
        call.require_superuser()
        query: ReplicationQuery = call.query
        locations = [
            _location(one)
            for one in self._status.locations()
            if query.location in (None, one.lag.location)
        ]
        if not locations and query.location is not None:
            raise unknown_location(query.location)
        found = self._tasks.first(query.limit + 1, location=query.location, after=query.next_page)
        page = found[: query.limit]
        response = {
            "locations": locations,
            "failing": [_task(one) for one in page],
            "policies": asdict(self._status.policies()),
        }
        return {**response, "next_page": str(page[-1].id)} if len(found) > len(page) else response


def unknown_location(name: str) -> NotFound:
    """Return the error for a location that does not exist."""
    return NotFound(f"there is no location '{name}'")


def _location(one: LocationReplication) -> dict[str, Any]:
    return {
        **one.lag.as_dict(),
        "urgent_blobs": one.urgent_blobs,
        "blobs_per_second": one.rate.blobs if one.rate else None,
        "bytes_per_second": one.rate.bytes if one.rate else None,
        "eta_seconds": one.seconds_left,
        "objects_to_delete": one.objects_to_delete,
    }


def _task(one: FailingTask) -> dict[str, Any]:
    return {
        **asdict(one),
        "created_at": utc(one.created_at),
        "next_attempt_at": utc(one.next_attempt_at) if one.next_attempt_at else None,
    }


class ReplicationLag:
    """`superuser/replication/lag`."""

    def __init__(self, database: Database) -> None:
        self._samples = LagSamples(database)

    @operation("getReplicationLag", query=LagQuery, response=LagCurvesSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the lag of each location over the last hours, in about `points` intervals."""
        call.require_superuser()
        query: LagQuery = call.query
        curves = self._samples.curves(query.hours, query.location, points=query.points)
        if query.location is not None and not curves.points:
            raise unknown_location(query.location)
        return {
            "hours": query.hours,
            "interval_seconds": curves.interval_seconds,
            "locations": [
                {
                    "location": location,
                    "samples": [
                        {
                            "at": utc(one.at),
                            "blobs": one.blobs,
                            "bytes": one.bytes,
                            "seconds": one.seconds,
                        }
                        for one in points
                    ],
                }
                for location, points in curves.points.items()
            ],
        }

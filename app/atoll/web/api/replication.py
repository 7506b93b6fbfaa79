"""`superuser/replication`: pending copies of each location and their history."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.placement.upkeep.lag_samples import HOURS_MAXIMUM, LagSamples
from atoll.web.api.errors import NotFound
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import utc

_NAME_MAXIMUM = 255


class LagQuery(RequestModel):
    """The period in hours until now, and the location; by default all."""

    hours: int = Field(default=1, ge=1, le=HOURS_MAXIMUM)
    location: str | None = Field(default=None, max_length=_NAME_MAXIMUM)


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


class ReplicationLag:
    """`superuser/replication/lag`."""

    def __init__(self, database: Database) -> None:
        self._samples = LagSamples(database)

    @operation("getReplicationLag", query=LagQuery, response=LagCurvesSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the lag of each location over the last hours, in about 300 intervals."""
        call.require_superuser()
        query: LagQuery = call.query
        curves = self._samples.curves(query.hours, query.location)
        if query.location is not None and not curves.points:
            raise NotFound(f"there is no location '{query.location}'")
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

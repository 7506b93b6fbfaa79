"""`superuser/health`: the health of all instances, sites and stores."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.mirroring.status import MirrorStatuses
from atoll.placement.status import StatusReporter
from atoll.web.api.operation import Call, operation


class StoreSchema(TypedDict):
    """The state of a store; null until the first probe is complete."""

    up: bool | None
    serves: bool | None
    cause: str | None


class StoreObservationSchema(StoreSchema):
    """The state of a store as observed by an instance."""

    hostname: str
    role: str
    preference: list[str]


class LocationHealthSchema(TypedDict):
    """A location, the state of its store on each instance, and its pending work."""

    location: str
    state: str
    pending_blobs: int
    pending_bytes: int
    oldest_seconds: float
    failing_blobs: int
    last_error: str | None
    objects_to_delete: int
    down_at: list[str]
    seen_by: list[StoreObservationSchema]


class InstanceSchema(TypedDict):
    """An instance; `drift` names the keys of its bundle that differ from the majority.

    `certificate_expires_at` is null if it serves no TLS, and for an earlier version.
    """

    role: str
    hostname: str
    version: str
    preference: list[str]
    started_at: str
    seen_seconds_ago: float
    drift: list[str]
    stores: dict[str, StoreSchema]
    lost: bool
    certificate_expires_at: str | None


class MirrorCountsSchema(TypedDict):
    """The numbers of mirrors; `overdue` ones have had no recent success."""

    mirrors: int
    active: int
    running: int
    due: int
    failed: int
    overdue: int


class HealthSchema(TypedDict):
    """The health of all sites, as `atoll status --json` prints it."""

    instances: list[InstanceSchema]
    locations: list[LocationHealthSchema]
    mirrors: MirrorCountsSchema
    problems: list[str]


class SuperuserHealth:
    """`superuser/health`. It runs a few statements, and sends no request to a store."""

    def __init__(self, database: Database) -> None:
        self._reporter = StatusReporter(database)
        self._mirrors = MirrorStatuses(database)

    @operation("getHealthDetail", response=HealthSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the state of stores on each instance, lag, mirrors, and problems to resolve."""
        call.require_superuser()
        report, mirrors = self._reporter.report(), self._mirrors.summary()
        return {
            **report.as_dict(),
            "mirrors": mirrors.as_dict(),
            "problems": report.problems() + mirrors.problems(),
        }

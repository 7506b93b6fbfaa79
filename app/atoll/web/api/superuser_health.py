"""`superuser/health`: what `/health/instance` and `/health/endtoend` say, store by store."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.placement.status import StatusReporter
from atoll.web.api.operation import Call, operation


class StoreSchema(TypedDict):
    """What an instance knows of a store: null until its first probe has ended."""

    up: bool | None
    serves: bool | None
    cause: str | None


class SightSchema(StoreSchema):
    """The same, with who it is that knows."""

    hostname: str
    role: str
    preference: list[str]


class LocationHealthSchema(TypedDict):
    """A location: how each instance sees its store, and what is to be done there."""

    location: str
    state: str
    pending_blobs: int
    pending_bytes: int
    oldest_seconds: float
    failing_blobs: int
    last_error: str | None
    objects_to_delete: int
    down_at: list[str]
    seen_by: list[SightSchema]


class InstanceSchema(TypedDict):
    """An instance; `drift` names the keys of its bundle that differ from most others'."""

    role: str
    hostname: str
    version: str
    preference: list[str]
    started_at: str
    seen_seconds_ago: float
    drift: list[str]
    stores: dict[str, StoreSchema]
    lost: bool


class HealthSchema(TypedDict):
    """Everything at a glance, of all sites, as `atoll status --json` prints it."""

    instances: list[InstanceSchema]
    locations: list[LocationHealthSchema]
    problems: list[str]


class SuperuserHealth:
    """`superuser/health`. Costs a few statements, and no store is asked."""

    def __init__(self, database: Database) -> None:
        self._reporter = StatusReporter(database)

    @operation("getHealthDetail", response=HealthSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Show how every site sees every store, the lag, and what somebody should look at."""
        call.require_superuser()
        return self._reporter.report().as_dict()

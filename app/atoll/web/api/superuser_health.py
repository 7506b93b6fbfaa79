"""`superuser/health`: the health of all instances, sites and stores."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.mirroring.status import MirrorStatuses
from atoll.placement.recent_status import RecentReport
from atoll.placement.status import StatusReporter
from atoll.web.api.operation import Call, RequestModel, operation


class StoreSchema(TypedDict):
    """The state of a store as an instance sees it.

    `up` means that it serves and accepts objects, `serves` that it can be read from; both are null
    until the first probe is complete, and changed last at `since`. `cause` is why it is not up.
    `latency_seconds` is the usual duration of a probe, rounded up to 1, 2 or 5 times a power of
    ten, and null unless the store serves. A store that is `full` is `read_only`, too. A `slow` one
    serves, but requests or probes fail at times or take unusually long. An `unresponsive` one
    served a moment ago, and now answers neither probes nor requests. Earlier versions report only
    `up`, `serves` and `cause`; the other fields are null.
    """

    up: bool | None
    serves: bool | None
    cause: str | None
    since: str | None
    latency_seconds: float | None
    full: bool | None
    read_only: bool | None
    slow: bool | None
    unresponsive: bool | None


class StoreObservationSchema(StoreSchema):
    """The state of a store as observed by an instance."""

    hostname: str
    role: str
    preference: list[str]


class SiteObservationSchema(TypedDict):
    """The state of a store as observed by a site; if its instances differ, the worst counts.

    `state` is `up`, `slow`, `read-only`, `full`, `unresponsive` while probes have no answer, `down`
    after they failed, or `unknown` before the first probe and while no instance of the site runs.
    `instances` of the `of_instances` running ones see it.
    """

    site: str
    state: str
    since: str | None
    latency_seconds: float | None
    cause: str | None
    instances: int
    of_instances: int


class LocationHealthSchema(TypedDict):
    """A location, its store as observed by each site and instance, and its pending work.

    `bytes_per_second` is the decrease of pending copies in the last five minutes, negative while
    they increase, and null without samples. `eta_seconds` is the time until nothing is pending at
    that rate, null if it is unknown.
    """

    location: str
    state: str
    pending_blobs: int
    pending_bytes: int
    oldest_seconds: float
    failing_blobs: int
    last_error: str | None
    bytes_per_second: float | None
    eta_seconds: float | None
    objects_to_delete: int
    down_at: list[str]
    sites: list[SiteObservationSchema]
    seen_by: list[StoreObservationSchema]


class InstanceSchema(TypedDict):
    """An instance; `drift` names the keys of its bundle that differ from the majority.

    `bundle` is a fingerprint, which is equal for equal bundles. `certificate_expires_at` is null if
    it serves no TLS, and for an earlier version.
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
    bundle: str


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


class HealthQuery(RequestModel):
    """Whether counts, rates and ages of pending work may be up to 30 seconds old.

    States of instances, stores and locations never are. Such a report costs one small statement
    unless a state has changed, for clients that request it all the time.
    """

    recent: bool = False


class SuperuserHealth:
    """`superuser/health`. It runs a few statements, and sends no request to a store."""

    def __init__(self, database: Database) -> None:
        self._reporter = StatusReporter(database)
        self._mirrors = MirrorStatuses(database)
        self._recent = RecentReport(database, self._report)

    @operation("getHealthDetail", query=HealthQuery, response=HealthSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the state of stores on each instance, lag, mirrors, and problems to resolve."""
        call.require_superuser()
        return self._recent.get() if call.query.recent else self._report()

    def _report(self) -> dict[str, Any]:
        report, mirrors = self._reporter.report(), self._mirrors.summary()
        return {
            **report.as_dict(),
            "mirrors": mirrors.as_dict(),
            "problems": report.problems() + mirrors.problems(),
        }

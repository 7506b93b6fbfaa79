"""`superuser/locations`: the state of each location, drain, activation, and a preview of a loss."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.placement.locations.contents import ContentsQuery, LocationContents
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.recent_status import RecentReport
from atoll.placement.status import StatusReporter
from atoll.storage.states import ACTIVE, DRAINING
from atoll.web.api.errors import InvalidRequest, NotFound, TooManyReports
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.superuser_health import LocationHealthSchema

_NAME_MAXIMUM = 255


class LocationSchema(LocationHealthSchema):
    """A location, its store as each instance sees it, its pending work and its copies.

    `blobs` and `bytes` are those of good copies, from a sample if `estimated`. All good copies were
    read and hashed after `verified_since`.
    """

    required: bool
    blobs: int
    bytes: int
    estimated: bool
    quarantined: int
    doubted: int
    verified_since: str | None


class LocationsSchema(TypedDict):
    """All locations."""

    locations: list[LocationSchema]


class LocationConfirmation(RequestModel):
    """The name of the location again, so that no location is changed by a mistyped path."""

    location: str = Field(max_length=_NAME_MAXIMUM)


class DrainSchema(TypedDict):
    """What a draining location must still be kept for."""

    location: str
    state: str
    remaining_blobs: int
    remaining_bytes: int
    open_uploads: int


class StateSchema(TypedDict):
    """The state of a location."""

    location: str
    state: str


class LossQuery(RequestModel):
    """The maximum number of blobs and images that are listed; the totals count all."""

    limit: int = Field(default=100, ge=0, le=1000)


class LostBlobSchema(TypedDict):
    """A blob without a good copy elsewhere, and the repositories that use it."""

    digest: str
    bytes: int
    repositories: list[str]


class LostImageSchema(TypedDict):
    """An image that could not be pulled completely, and its tags."""

    repository: str
    digest: str
    tags: list[str]


class LossSchema(TypedDict):
    """What would be lost if the store of a location were lost now.

    `good_blobs` of the blobs have a good copy there, which a drain would save.
    """

    location: str
    blobs: int
    bytes: int
    good_blobs: int
    uploads: int
    repositories: int
    images: int
    tags: int
    lost_images: list[LostImageSchema]
    lost_blobs: list[LostBlobSchema]


class LocationsQuery(RequestModel):
    """Whether numbers of copies and of pending work may be up to 30 seconds old.

    States of instances, stores and locations never are; see `superuser/health`.
    """

    recent: bool = False


class LocationReports:
    """The state of locations, for the list and for one of them."""

    def __init__(self, database: Database, required: list[str]) -> None:
        """Make the reports.

        Args:
            database: The database.
            required: The default locations.
        """
        self._reporter = StatusReporter(database)
        self._contents = ContentsQuery(database)
        self._required = required
        self._recent = RecentReport(database, self._all)

    def all(self, *, recent: bool) -> list[dict[str, Any]]:
        """Return the locations in the format of LocationSchema.

        Args:
            recent: Whether numbers may be up to 30 seconds old. Callers must not change the report.
        """
        return self._recent.get() if recent else self._all()

    def _all(self) -> list[dict[str, Any]]:
        contents = self._contents.run()
        return [
            {
                **one,
                "required": one["location"] in self._required,
                **_contents(contents[one["location"]]),
            }
            for one in self._reporter.report().as_dict()["locations"]
            # One that was registered between the statements is in the next report.
            if one["location"] in contents
        ]


def _contents(contents: LocationContents) -> dict[str, Any]:
    since = contents.verified_since
    return {**asdict(contents), "verified_since": since.isoformat() if since else None}


class LocationList:
    """`superuser/locations`."""

    def __init__(self, reports: LocationReports) -> None:
        self._reports = reports

    @operation("listLocations", query=LocationsQuery, response=LocationsSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List locations with their stores' health on each instance, lag and copies."""
        call.require_superuser()
        return {"locations": self._reports.all(recent=call.query.recent)}


class LocationResource:
    """`superuser/locations/{location}`."""

    def __init__(self, reports: LocationReports) -> None:
        self._reports = reports

    @operation("getLocation", query=LocationsQuery, response=LocationSchema, scope="super:user")
    def on_get(self, call: Call, location: str) -> Any:
        """Get the state of a location."""
        call.require_superuser()
        for one in self._reports.all(recent=call.query.recent):
            if one["location"] == location:
                return one
        raise NotFound(f"there is no location '{location[:_NAME_MAXIMUM]}'")


class BatchSlot:
    """Lets one operation at a time read many blobs, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the slot while the context is active.

        Raises:
            TooManyReports: Another operation holds it.
        """
        if not self._lock.acquire(blocking=False):
            raise TooManyReports
        try:
            yield
        finally:
            self._lock.release()


class LocationDrain:
    """`superuser/locations/{location}/drain`."""

    def __init__(self, life_cycle: Callable[[], LocationLifeCycle], slot: BatchSlot) -> None:
        self._life_cycle = life_cycle
        self._slot = slot

    @operation("drainLocation", body=LocationConfirmation, response=DrainSchema, scope="super:user")
    def on_post(self, call: Call, location: str) -> Any:
        """Drain a location: write nothing there, and copy its sole copies elsewhere."""
        _confirm(call, location)
        with self._slot.held():
            remaining = self._life_cycle().drain(location)
        call.log("change_location_state", None, location=location, state=DRAINING)
        return {
            "location": location,
            "state": DRAINING,
            "remaining_blobs": remaining.blobs,
            "remaining_bytes": remaining.bytes,
            "open_uploads": remaining.uploads,
        }


class LocationActivation:
    """`superuser/locations/{location}/activate`."""

    def __init__(self, life_cycle: Callable[[], LocationLifeCycle]) -> None:
        self._life_cycle = life_cycle

    @operation(
        "activateLocation", body=LocationConfirmation, response=StateSchema, scope="super:user"
    )
    def on_post(self, call: Call, location: str) -> Any:
        """Activate a location: read from it and write to it; missing copies are queued."""
        _confirm(call, location)
        self._life_cycle().activate(location)
        call.log("change_location_state", None, location=location, state=ACTIVE)
        return {"location": location, "state": ACTIVE}


class LocationLoss:
    """`superuser/locations/{location}/loss`."""

    def __init__(self, life_cycle: Callable[[], LocationLifeCycle], slot: BatchSlot) -> None:
        self._life_cycle = life_cycle
        self._slot = slot

    @operation("previewLoss", query=LossQuery, response=LossSchema, scope="super:user")
    def on_get(self, call: Call, location: str) -> Any:
        """Get what would be lost if the store of a location were lost now."""
        call.require_superuser()
        limit: int = call.query.limit
        with self._slot.held():
            loss = self._life_cycle().preview_loss(location, limit)
        preview = asdict(loss)
        return {"location": location, "good_blobs": preview.pop("good"), **preview}


def _confirm(call: Call, location: str) -> None:
    call.require_superuser()
    if call.body.location != location:
        raise InvalidRequest(
            f"location: must be '{location[:_NAME_MAXIMUM]}', the location in the path, to confirm"
            " the change"
        )

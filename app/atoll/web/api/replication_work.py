"""`superuser/replication/backfill` and `…/retry`: queue missing copies, retry failing tasks."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.placement.locations.states import LocationTable
from atoll.placement.upkeep.bounded_backfill import BoundedBackfill
from atoll.placement.upkeep.failing_tasks import FailingTasks
from atoll.web.api.location import BatchSlot
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.replication import NAME_MAXIMUM, unknown_location

_Name = Annotated[str, Field(max_length=NAME_MAXIMUM)]


class Backfill(RequestModel):
    """The locations, by default all where copies are required, and where to resume."""

    dry_run: bool = True
    locations: list[_Name] = Field(default=[], max_length=1000)
    next_page: int = Field(default=0, ge=0, lt=2**63)


class MissingSchema(TypedDict):
    """The missing copies of a location."""

    location: str
    missing_blobs: int
    missing_bytes: int


class BackfillSchema(TypedDict):
    """The missing copies of the blobs that this request examined.

    Without `dry_run` they are queued, and tasks that already existed are due. If `next_page` is
    given, blobs remain: repeat the request with it, and add the numbers. `examined` and `last` show
    the progress: blobs have ascending numbers up to `last`.
    """

    dry_run: bool
    locations: list[MissingSchema]
    examined: int
    last: int
    next_page: NotRequired[str]


class Retry(RequestModel):
    """The location, by default all, and where to resume."""

    location: str | None = Field(default=None, max_length=NAME_MAXIMUM)
    next_page: int = Field(default=0, ge=0, lt=2**63)


class RetrySchema(TypedDict):
    """The number of tasks that are due now. If `next_page` is given, repeat the request with it."""

    retried: int
    next_page: NotRequired[str]


class ReplicationBackfill:
    """`superuser/replication/backfill`."""

    def __init__(self, backfill: BoundedBackfill, slot: BatchSlot) -> None:
        """Make the resource.

        Args:
            backfill: Examines the blobs.
            slot: Is held meanwhile.
        """
        self._backfill = backfill
        self._slot = slot

    @operation("backfillReplication", body=Backfill, response=BackfillSchema, scope="super:user")
    def on_post(self, call: Call) -> Any:
        """Count missing copies and, without `dry_run`, queue them; a request takes seconds."""
        call.require_superuser()
        body: Backfill = call.body
        with self._slot.held():
            found = self._backfill.portion(
                body.locations, after=body.next_page, queue=not body.dry_run
            )
        response = {
            "dry_run": body.dry_run,
            "locations": [
                {"location": one.location, "missing_blobs": one.blobs, "missing_bytes": one.bytes}
                for one in found.missing
            ],
            "examined": found.done,
            "last": found.last,
        }
        if not body.dry_run:
            call.log(
                "backfill_replication",
                None,
                locations=[one.location for one in found.missing],
                blobs=sum(one.blobs for one in found.missing),
                first=body.next_page,
                last=found.done,
            )
        return response if found.finished else {**response, "next_page": str(found.done)}


class ReplicationRetry:
    """`superuser/replication/retry`."""

    def __init__(self, tasks: FailingTasks, locations: LocationTable) -> None:
        """Make the resource.

        Args:
            tasks: Makes failing tasks due.
            locations: Knows the locations.
        """
        self._tasks = tasks
        self._locations = locations

    @operation("retryReplication", body=Retry, response=RetrySchema, scope="super:user")
    def on_post(self, call: Call) -> Any:
        """Retry failing copies now instead of after their pauses."""
        call.require_superuser()
        body: Retry = call.body
        if body.location is not None and body.location not in self._locations.states():
            raise unknown_location(body.location)
        found = self._tasks.retry(location=body.location, after=body.next_page)
        call.log("retry_replication", None, location=body.location, tasks=found.tasks)
        response = {"retried": found.tasks}
        return response if found.more is None else {**response, "next_page": str(found.more)}

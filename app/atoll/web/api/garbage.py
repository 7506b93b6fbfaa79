"""`superuser/garbage`: what garbage collection has still to do."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.placement.upkeep.garbage_status import GarbageStatus
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import optional_utc


class DeletionQueueSchema(TypedDict):
    """The objects to delete at a location; `due` of them can be deleted now.

    `oldest_at` is when the first of them was queued. `last_error` is the reason of one of the
    `failing` deletions, which are attempted again.
    """

    location: str
    state: str
    objects: int
    due: int
    oldest_at: str | None
    failing: int
    last_error: str | None


class GarbageSchema(TypedDict):
    """The stages of garbage collection, and their settings in seconds.

    Deleted manifests can be restored for the time that their namespace sets, by default
    `restorable_seconds`. Unused blobs are marked, are collected `grace_seconds` later if they are
    still unused, and their objects are deleted `failover_window_seconds` after that. Numbers beyond
    200,000 are estimates.
    """

    enabled: bool
    restorable_seconds: float
    frequency_seconds: float
    grace_seconds: float
    failover_window_seconds: float
    deleted_manifests: int
    oldest_deleted_at: str | None
    marked_blobs: int
    marked_bytes: int
    oldest_marked_at: str | None
    locations: list[DeletionQueueSchema]


class SuperuserGarbage:
    """`superuser/garbage`."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._status = GarbageStatus(database)
        self._settings = {
            "enabled": bundle.feature_garbage_collection and not bundle.read_only,
            "restorable_seconds": bundle.default_tag_expiration,
            "frequency_seconds": bundle.garbage_collection_frequency,
            "grace_seconds": bundle.garbage_collection_grace,
            "failover_window_seconds": bundle.garbage_collection_failover_window,
        }

    @operation("getGarbage", response=GarbageSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get deleted manifests, unused blobs and objects to delete, by stage of the collection."""
        call.require_superuser()
        manifests, blobs = self._status.waiting()
        return {
            **self._settings,
            "deleted_manifests": manifests.number,
            "oldest_deleted_at": optional_utc(manifests.oldest),
            "marked_blobs": blobs.number,
            "marked_bytes": blobs.bytes,
            "oldest_marked_at": optional_utc(blobs.oldest),
            "locations": [
                {
                    "location": one.location,
                    "state": one.state,
                    "objects": one.objects,
                    "due": one.due,
                    "oldest_at": optional_utc(one.oldest),
                    "failing": one.failing,
                    "last_error": one.last_error,
                }
                for one in self._status.queues()
            ],
        }

"""Maintenance that every instance runs in the background, with or without replication."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from atoll.media.import_records import ImportRecords
from atoll.mirroring.copying.blob_records import BlobRecords
from atoll.mirroring.runs.run_pruning import RunPruning
from atoll.placement.checks.verify import forget_old_runs
from atoll.placement.delete_queue import DeleteQueue, export_queue_lengths
from atoll.placement.upkeep.garbage import Collector
from atoll.placement.upkeep.over_replication import OverReplication
from atoll.registry.manifest_cache import ManifestCache
from atoll.registry.retention import Retention
from atoll.registry.untagged_manifests import UntaggedManifests
from atoll.registry.upload_records import LEFTOVERS
from atoll.services import Services

log = logging.getLogger(__name__)

# Seconds between two runs, and between two polls of an empty delete queue.
INTERVAL_SECONDS = 30
_DELETE_QUEUE_SECONDS = 5
# Parts of multipart uploads are abandoned at this age; the interval to search for them.
_PARTS_AGE = timedelta(days=1)
_PARTS_SECONDS = 3600
# Long enough that a file holds more than a few of the log's old entries.
_ROTATION_SECONDS = 3600
# A pass over the runs of all mirrors.
_MIRROR_RUNS_SECONDS = 3600

_UNFINISHED_UPLOADS = """
SELECT upload_id FROM replicationtask WHERE upload_id IS NOT NULL
UNION ALL SELECT upload_id FROM mirrorblob WHERE upload_id IS NOT NULL
"""


@dataclass(frozen=True)
class Activity:
    """Work that is repeated in the background, with a pause of `seconds` between two runs."""

    name: str
    seconds: float
    work: Callable[[], object]


def start_maintenance(services: Services) -> None:
    """Start the maintenance of an instance in background threads."""
    for activity in activities(services):
        services.thread_registry.repeat(activity.name, activity.seconds, activity.work)


def activities(services: Services) -> Iterator[Activity]:
    """Yield the activities that the bundle enables."""
    yield Activity("cleanup", INTERVAL_SECONDS, lambda: _clean_up(services))
    if services.bundle.read_only:
        return
    yield Activity("parts", _PARTS_SECONDS, lambda: abort_abandoned_parts(services))
    yield Activity(
        "verification-runs", INTERVAL_SECONDS, lambda: forget_old_runs(services.database)
    )
    yield Activity(
        "log-exports", INTERVAL_SECONDS, lambda: services.log_exporter.delete_expired() > 0
    )
    yield Activity("mirror-runs", _MIRROR_RUNS_SECONDS, RunPruning(services.database).step)
    if services.bundle.feature_action_log_rotation:
        yield Activity("log-rotation", _ROTATION_SECONDS, lambda: _rotate(services))
    retention = Retention(services.database, services.bundle)
    yield Activity("retention", INTERVAL_SECONDS, retention.step)
    if services.bundle.feature_garbage_collection:
        yield from _collection(services)


def _collection(services: Services) -> Iterator[Activity]:
    """Yield the activities that collect garbage and delete objects."""
    frequency = services.bundle.garbage_collection_frequency
    collector = Collector(services.database, services.bundle, services.placement_cache)
    untagged = UntaggedManifests(services.database, services.bundle, ManifestCache(services.redis))
    yield Activity("garbage", frequency, collector.step)
    yield Activity("over-replication", INTERVAL_SECONDS, over_replication_of(services).step)
    yield Activity("untagged", frequency, untagged.step)
    for location in services.locations.stores:
        yield Activity(
            f"delete-{location}", _DELETE_QUEUE_SECONDS, partial(_delete, services, location)
        )


def over_replication_of(services: Services) -> OverReplication:
    """Return the activity that deletes over-replicated copies."""
    return OverReplication(
        services.database,
        services.bundle.required_locations,
        services.placement_cache,
    )


def abort_abandoned_parts(services: Services) -> None:
    """Delete abandoned imports, and the parts of abandoned uploads at every store that is up."""
    BlobRecords(services.database).delete_abandoned(_PARTS_AGE)
    ImportRecords(services.database).delete_expired()
    kept = {row[0] for row in services.database.read(_UNFINISHED_UPLOADS)}
    before = datetime.now(UTC) - _PARTS_AGE
    for location, store in services.locations.stores.items():
        if services.locations.health.is_up(location) and (
            aborted := store.abort_abandoned_parts(before, kept)
        ):
            log.info("abandoned parts deleted", extra={"location": location, "uploads": aborted})


def _delete(services: Services, location: str) -> bool:
    def available() -> bool:
        return services.locations.health.is_up(location)

    queue = DeleteQueue(services.database, services.content, location, available=available)
    return available() and queue.turn() > 0


def _rotate(services: Services) -> None:
    if moved := services.log_rotation.rotate():
        log.info("audit log rotated", extra={"entries": moved})


def _clean_up(services: Services) -> bool:
    """Delete leftovers of uploads, and return whether there may be more."""
    if cleared := services.uploads.delete_leftovers():
        log.info("leftovers of uploads deleted", extra={"uploads": cleared})
    export_queue_lengths(services.database)
    # Cache deletions that another process could not send to Redis.
    services.redis.repeat_lost_deletions()
    return cleared == LEFTOVERS

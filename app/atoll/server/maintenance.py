"""Background activities of an instance, at a site with replication and at one without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from atoll.placement.checks.verify import forget_old_runs
from atoll.placement.delete_queue import DeleteQueue, export_queue_lengths
from atoll.placement.upkeep.garbage import Collector
from atoll.placement.upkeep.over_replication import Excess
from atoll.placement.upkeep.untagged_manifests import UntaggedManifests
from atoll.registry.blobs import cache_key
from atoll.registry.manifest_cache import deleted_manifest_cache_keys
from atoll.registry.retention import Retention
from atoll.registry.upload_records import LEFTOVERS
from atoll.services import Services

log = logging.getLogger(__name__)

# Seconds between two rounds, and between two looks at a delete queue that was empty.
HOUSEKEEPING = 30
_DELETIONS = 5
# Parts of uploads that are older are nobody's any more; looked for so often.
_PARTS_AGE = timedelta(days=1)
_PARTS_SECONDS = 3600
# So that a file of the log's old entries holds more than a few.
_ROTATION_SECONDS = 3600

_UPLOADS_UNDER_WAY = "SELECT upload_id FROM replicationtask WHERE upload_id IS NOT NULL"


@dataclass(frozen=True)
class Activity:
    """Work that is repeated in the background; `seconds` pass between two repetitions."""

    name: str
    seconds: float
    work: Callable[[], object]


def keep_house(graph: Services) -> None:
    """Start the maintenance of an instance in background threads."""
    for activity in activities(graph):
        graph.thread_registry.repeat(activity.name, activity.seconds, activity.work)


def activities(graph: Services) -> Iterator[Activity]:
    """Yield what an instance does in the background, as far as its bundle allows."""
    yield Activity("housekeeping", HOUSEKEEPING, lambda: _clear_away(graph))
    if graph.bundle.read_only:
        return
    yield Activity("parts", _PARTS_SECONDS, lambda: abort_abandoned_parts(graph))
    yield Activity("verification-runs", HOUSEKEEPING, lambda: forget_old_runs(graph.database))
    yield Activity("log-exports", HOUSEKEEPING, lambda: graph.log_exporter.delete_expired() > 0)
    if graph.bundle.feature_action_log_rotation:
        yield Activity("log-rotation", _ROTATION_SECONDS, lambda: _rotate(graph))
    retention = Retention(graph.database, graph.bundle)
    yield Activity("retention", HOUSEKEEPING, retention.step)
    if graph.bundle.feature_garbage_collection:
        yield from _collection(graph)


def _collection(graph: Services) -> Iterator[Activity]:
    """Yield what collects garbage and deletes objects."""
    frequency = graph.bundle.garbage_collection_frequency
    collector = Collector(
        graph.database, graph.bundle, lambda digest: graph.redis.delete(cache_key(digest))
    )
    untagged = UntaggedManifests(
        graph.database,
        graph.bundle,
        lambda name, digest, blobs: graph.redis.delete(
            *deleted_manifest_cache_keys(name, str(digest), blobs)
        ),
    )
    yield Activity("garbage", frequency, collector.step)
    yield Activity("excess", HOUSEKEEPING, excess_of(graph).step)
    yield Activity("untagged", frequency, untagged.step)
    for location in graph.locations.stores:
        yield Activity(f"delete-{location}", _DELETIONS, partial(_delete, graph, location))


def excess_of(graph: Services) -> Excess:
    """Return what takes copies away from where policies exclude them."""
    return Excess(
        graph.database,
        graph.bundle.required_locations,
        lambda digest: graph.redis.delete(cache_key(digest)),
    )


def abort_abandoned_parts(graph: Services) -> None:
    """Throw away the parts of uploads that ended without a word, at every store that is up."""
    kept = {row[0] for row in graph.database.read(_UPLOADS_UNDER_WAY)}
    before = datetime.now(UTC) - _PARTS_AGE
    for location, store in graph.locations.stores.items():
        if graph.locations.health.is_up(location) and (
            aborted := store.abort_abandoned_parts(before, kept)
        ):
            log.info("parts thrown away", extra={"location": location, "uploads": aborted})


def _delete(graph: Services, location: str) -> bool:
    def available() -> bool:
        return graph.locations.health.is_up(location)

    queue = DeleteQueue(graph.database, graph.content, location, available=available)
    return available() and queue.turn() > 0


def _rotate(graph: Services) -> None:
    if moved := graph.log_rotation.rotate():
        log.info("old entries of the log moved to files", extra={"entries": moved})


def _clear_away(graph: Services) -> bool:
    """Delete leftovers of uploads, and return whether there may be more."""
    if cleared := graph.uploads.delete_leftovers():
        log.info("uploads cleared away", extra={"uploads": cleared})
    export_queue_lengths(graph.database)
    # Another process may have kept deletions that this one can pass on.
    graph.redis.repeat_lost_deletions()
    return cleared == LEFTOVERS

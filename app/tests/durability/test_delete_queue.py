"""The delete queue of a location: an undeletable object delays no others."""

from __future__ import annotations

from atoll.names import Digest
from atoll.placement.delete_queue import DeleteQueue
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreRefused, StoreUnavailable, StoreUnreachable

from .sites import MemoryRegistry, MemorySite

OBJECTS = 60


def queue_of(site: MemorySite) -> DeleteQueue:
    return DeleteQueue(
        site.database, site.graph.content, "us", available=lambda: site.locations.health.is_up("us")
    )


def fill(site: MemorySite) -> list[Digest]:
    """Queue objects for deletion, as the collector does, and return their digests in order."""
    digests = [site.push(b"object %d" % number) for number in range(OBJECTS)]
    site.database.run(
        "DELETE FROM replicationtask; DELETE FROM uploadedblob;"
        " UPDATE imagestorage SET tombstone_at = now();"
        " WITH gone AS (DELETE FROM imagestorageplacement RETURNING storage_id, location_id)"
        " INSERT INTO objectdeletion (storage_id, location_id)"
        " SELECT storage_id, location_id FROM gone ORDER BY storage_id"
    )
    return digests


def waiting(site: MemorySite) -> list[tuple[int, bool]]:
    """Return the number of attempts for each queued object, and whether it is due."""
    rows = site.database.read(
        "SELECT attempts, available_at <= clock_timestamp() FROM objectdeletion ORDER BY id"
    )
    return [(attempts, due) for attempts, due in rows]


def test_an_undeletable_object_does_not_delay_later_ones(registry: MemoryRegistry) -> None:
    site = registry["us"]
    locked = blob_key(fill(site)[0])

    def lock(operation: str, key: str) -> None:
        if operation == "delete" and key == locked:
            raise StoreRefused("us", "it answered AccessDenied")

    site.stores["us"].fault = lock
    queue = queue_of(site)
    assert [queue.turn() for _ in range(4)] == [19, 20, 20, 0]
    assert set(site.stores["us"].objects) == {locked}
    # On a slow machine, the back-off of the first attempt may be over by the last turn.
    assert [attempts >= 1 for attempts, _due in waiting(site)] == [True]


def test_an_undeletable_object_is_retried_after_at_most_an_hour(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    locked = blob_key(fill(site)[0])

    def lock(operation: str, key: str) -> None:
        if operation == "delete" and key == locked:
            raise StoreRefused("us", "it answered AccessDenied")

    site.stores["us"].fault = lock
    queue = queue_of(site)
    waits = []
    for _ in range(14):
        queue.turn()
        waits.append(
            round(
                site.database.read(
                    "SELECT extract(epoch FROM max(available_at) - clock_timestamp())::float"
                    " FROM objectdeletion WHERE attempts > 0"
                )[0][0]
            )
        )
        site.database.run("UPDATE objectdeletion SET available_at = now()")
    assert waits == sorted(waits)
    assert 3500 < waits[-1] <= 3600
    site.stores["us"].fault = None
    while queue.turn():
        pass
    assert (site.stores["us"].objects, waiting(site)) == ({}, [])


def test_a_store_that_becomes_unavailable_costs_one_attempt(registry: MemoryRegistry) -> None:
    site = registry["us"]
    fill(site)

    def die(operation: str, _key: str) -> None:
        if operation == "delete":
            site.locations.health.observe("us", StoreUnreachable("us", "down"))
            raise StoreUnavailable("us", "down")

    site.stores["us"].fault = die
    assert queue_of(site).turn() == 0
    assert site.stores["us"].requests["delete"] == 1
    assert [attempts for attempts, _due in waiting(site)] == [1] + [0] * (OBJECTS - 1)


def test_objects_of_a_slow_store_are_released_before_their_lease_expires(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    fill(site)
    now = [0.0]

    def crawl(operation: str, _key: str) -> None:
        if operation == "delete":
            now[0] += 11

    site.stores["us"].fault = crawl
    queue = DeleteQueue(site.database, site.graph.content, "us", monotonic=lambda: now[0])
    assert queue.turn() == 3
    assert waiting(site) == [(0, True)] * (OBJECTS - 3)

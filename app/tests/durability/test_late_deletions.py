"""A deletion that a store carries out late destroys no acknowledged blob."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.names import Digest
from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.tasks import Tasks
from atoll.registry.errors import DeletionUnresolved
from atoll.storage.base import blob_key
from atoll.storage.errors import StoreError, StoreRefused

from ..integration.services import wait_until
from .sites import SUPERUSER, MemoryRegistry, MemorySite, make_registry
from .uploads import begin_upload, count_announcements, request_body

DATA = b"the same bytes"
DIGEST = Digest.of(DATA)


@pytest.fixture
def alone(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """The site of a registry with one location, without replication."""
    changes: dict[str, object] = {"FEATURE_STORAGE_REPLICATION": False}
    return make_registry(make_database(), tmp_path, ["us"], changes)["us"]


def cancel_with_late_deletion(site: MemorySite, data: bytes = DATA) -> UUID:
    """Cancel an upload of `data` whose object the store deletes later; return its id."""
    upload = begin_upload(site, data)
    site.stores["us"].late_deletions = []
    site.graph.uploads.cancel(site.repository, upload.uuid)
    assert site.stores["us"].late_deletions == [blob_key(Digest.of(data))]
    return upload.uuid


def resolve_uncertain_deletions(database: Database) -> None:
    database.run(
        "UPDATE contentdeletion SET deleted_at = deleted_at - interval '1 hour',"
        " announced_at = announced_at - interval '1 hour',"
        " unknown_until = unknown_until - interval '1 hour'"
    )


def safe_at(site: MemorySite, digest: Digest = DIGEST) -> list[str]:
    """Return the locations that have a good placement and the right bytes of `digest`."""
    good = [name for name, state in site.placements(digest).items() if state == "good"]
    return [name for name in good if site.has_object(name, digest)]


def push_in_chunks(site: MemorySite) -> None:
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    for piece in (DATA[:5], DATA[5:]):
        upload = site.graph.uploads.append(upload, request_body(piece))
    site.graph.uploads.finish(upload, DIGEST, request_body(b""))


def push_in_one_chunk(site: MemorySite) -> None:
    site.graph.uploads.finish(begin_upload(site, DATA), DIGEST, request_body(b""))


def push_in_one_request(site: MemorySite) -> None:
    site.push(DATA)


@pytest.mark.parametrize("push", [push_in_one_request, push_in_one_chunk, push_in_chunks])
def test_a_push_after_an_unanswered_deletion_is_written_to_another_location(
    registry: MemoryRegistry, push: Callable[[MemorySite], None]
) -> None:
    site = registry["us"]
    cancel_with_late_deletion(site)
    push(site)
    site.stores["us"].carry_out_deletions()
    assert safe_at(site) == ["eu"]


def test_a_push_is_refused_while_the_only_location_may_still_delete_its_object(
    alone: MemorySite,
) -> None:
    cancel_with_late_deletion(alone)
    with pytest.raises(DeletionUnresolved, match="push it again in a few minutes"):
        alone.push(DATA)
    alone.push(b"other bytes")
    alone.stores["us"].carry_out_deletions()
    resolve_uncertain_deletions(alone.database)
    alone.push(DATA)
    assert safe_at(alone) == ["us"]


def test_an_object_written_before_the_deletion_was_resolved_is_written_again(
    alone: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The late deletion is carried out between the write and the placement."""
    cancel_with_late_deletion(alone)
    place = alone.graph.blobs.place

    def place_later(*arguments: object, **more: object) -> bool:
        monkeypatch.undo()
        alone.stores["us"].carry_out_deletions()
        alone.database.run(
            "UPDATE contentdeletion SET deleted_at = clock_timestamp(),"
            " unknown_until = clock_timestamp()"
        )
        return place(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(alone.graph.blobs, "place", place_later)
    alone.push(DATA)
    assert safe_at(alone) == ["us"]


def test_the_response_to_a_later_deletion_does_not_resolve_an_earlier_one(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    upload = cancel_with_late_deletion(site)
    late, site.stores["us"].late_deletions = site.stores["us"].late_deletions, None
    assert site.graph.content.discard(DIGEST, "us", upload)
    site.push(DATA)
    site.stores["us"].late_deletions = late
    site.stores["us"].carry_out_deletions()
    assert safe_at(site) == ["eu"]


def test_unanswered_attempts_add_no_announcements(registry: MemoryRegistry) -> None:
    site = registry["us"]
    upload = cancel_with_late_deletion(site)
    for _ in range(3):
        with pytest.raises(StoreError):
            site.graph.content.discard(DIGEST, "us", upload)
    assert count_announcements(site) == 1


def test_a_refused_deletion_leaves_no_uncertainty(registry: MemoryRegistry) -> None:
    site = registry["us"]
    upload = begin_upload(site, DATA)

    def refuse(operation: str, _key: str) -> None:
        if operation == "delete":
            raise StoreRefused("us", "it answered AccessDenied")

    site.stores["us"].fault = refuse
    site.graph.uploads.cancel(site.repository, upload.uuid)
    assert count_announcements(site) == 0
    site.push(DATA)
    assert safe_at(site) == ["us"]


def test_a_collected_blob_that_is_pushed_again_survives_a_late_deletion(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    site.push(DATA)
    site.database.run(
        "WITH gone AS (DELETE FROM imagestorageplacement RETURNING storage_id, location_id)"
        " INSERT INTO objectdeletion (storage_id, location_id) SELECT * FROM gone"
    )
    site.stores["us"].late_deletions = []
    DeleteQueue(site.database, site.graph.content, "us").turn()
    site.push(DATA)
    site.stores["us"].carry_out_deletions()
    assert safe_at(site) == ["eu"]


def while_deleting(site: MemorySite, act: Callable[[], None]) -> None:
    """Call `act` once while the deleter is paused, just before it sends its request."""

    def pause(operation: str, _key: str) -> None:
        if operation == "delete":
            site.stores["us"].fault = None
            act()

    site.stores["us"].fault = pause


def end_idle_transactions(site: MemorySite) -> None:
    """Terminate idle transactions, as PostgreSQL does after a minute."""
    site.database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )


def test_a_deleter_that_is_paused_before_its_request_destroys_no_acknowledged_blob(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    upload = begin_upload(us, DATA)

    def push() -> None:
        end_idle_transactions(us)
        us.push(DATA)

    while_deleting(us, push)
    try:
        us.graph.uploads.cancel(us.repository, upload.uuid)
    except DatabaseUnavailable:
        us.database.forget_idle()
    assert safe_at(us) == ["eu"]


def test_a_blob_that_a_deleter_destroys_after_a_very_long_pause_is_repaired(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    upload = begin_upload(us, DATA)

    def push() -> None:
        resolve_uncertain_deletions(us.database)
        us.push(DATA)
        eu = registry["eu"].worker()
        eu.start()
        wait_until("it is copied", lambda: "eu" in us.placements(DIGEST))
        eu.stop()

    while_deleting(us, push)
    us.graph.uploads.cancel(us.repository, upload.uuid)
    assert not us.has_object("us", DIGEST)
    assert us.placements(DIGEST) == {"us": "suspect", "eu": "good"}
    worker = us.worker()
    worker.start()
    wait_until("it is repaired", lambda: us.placements(DIGEST)["us"] == "good")
    worker.stop()
    assert us.has_object("us", DIGEST)


def test_a_placement_is_verified_if_a_failover_lost_the_announcement(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    upload = begin_upload(us, DATA)

    def failover() -> None:
        us.database.run("DELETE FROM contentdeletion")
        us.push(DATA)

    while_deleting(us, failover)
    us.graph.uploads.cancel(us.repository, upload.uuid)
    assert us.placements(DIGEST) == {"us": "suspect"}
    assert us.push(DATA) == DIGEST
    assert safe_at(us) == ["us"]


def test_a_copy_is_not_placed_while_a_deletion_is_unresolved(registry: MemoryRegistry) -> None:
    us = registry["us"]
    cancel_with_late_deletion(us)
    us.push(DATA)
    assert us.placements(DIGEST) == {"eu": "good"}
    tasks = Tasks(us.database, "us")
    (task,) = tasks.claim()
    us.stores["us"].objects[blob_key(DIGEST)] = DATA
    assert tasks.finish([task]) == set()
    # Until then the task cannot be claimed again.
    us.database.run(
        "UPDATE replicationtask SET lease_expires = now() WHERE lease_expires IS NOT NULL"
    )
    assert tasks.claim() == []
    us.stores["us"].carry_out_deletions()
    resolve_uncertain_deletions(us.database)
    us.database.run("UPDATE replicationtask SET available_at = now()")
    (task,) = tasks.claim()
    assert tasks.finish([task]) == {task.lease_token}

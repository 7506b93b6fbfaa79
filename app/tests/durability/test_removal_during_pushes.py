"""Pushes, copies and deletions continue while a location is removed, and lose no blob."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from unittest.mock import patch

import pytest
from atoll.db.pool import Database
from atoll.names import Digest
from atoll.placement.locations import remove as remove_module
from atoll.placement.locations.errors import ChangeRefused, LossNotAccepted
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.over_replication import OverReplication
from atoll.registry.errors import UploadUnknown

from ..caches import RecordingCache
from ..integration.services import wait_until
from .many_blobs import blobs_without_placement, place_blobs, reset_placements, waiting_for_locks
from .sites import SUPERUSER, MemoryRegistry, MemorySite
from .uploads import request_body

LOCATIONS = ["us", "eu", "ap"]
QUICK, LONG = 15, 300


def remove(database: Database, location: str, accepted_loss: int | None = None) -> None:
    for _ in Removal(LocationTable(database)).steps(location, accepted_loss=accepted_loss):
        continue


@contextmanager
def long_proof(registry: MemoryRegistry, location: str, **arguments: int) -> Iterator[None]:
    """Remove `location` with a command whose proof lasts until the context ends."""
    proven, resume = threading.Event(), threading.Event()

    def slow(prove: Callable[..., None]) -> Callable[..., None]:
        def proof(*parameters: object) -> None:
            prove(*parameters)
            proven.set()
            resume.wait()

        return proof

    with (
        patch.object(Removal, "_prove", staticmethod(slow(Removal._prove))),
        patch.object(remove_module, "record_loss", slow(remove_module.record_loss)),
        ThreadPoolExecutor(1) as executor,
    ):
        removing = executor.submit(remove, registry["eu"].database, location, **arguments)
        try:
            wait_until("the proof is complete", lambda: proven.is_set() or removing.done())
            assert not removing.done()
            yield
        finally:
            resume.set()
        removing.result()


@pytest.fixture
def draining(registry: MemoryRegistry) -> MemoryRegistry:
    """A registry in which us drains, unnoticed by its own site so far."""
    database = registry["us"].database
    registry["us"].push(b"the repository exists")
    reset_placements(database, LOCATIONS)
    place_blobs(database, 20, ["us", "eu"])
    LocationTable(database).set_draining("us", LOCATIONS)
    return registry


def test_a_push_does_not_wait_for_the_proof_and_is_placed_elsewhere(
    draining: MemoryRegistry,
) -> None:
    site = draining["us"]
    assert site.locations.states.writable("us")
    with long_proof(draining, "us"):
        digest = site.push(b"pushed while the proof runs")
        assert site.placements(digest) == {"eu": "good"}
    assert site.has_object("eu", digest)
    assert "us" not in LocationTable(site.database).states()


def test_a_push_that_wrote_before_the_proof_is_placed_elsewhere(draining: MemoryRegistry) -> None:
    """The upload is older than those that a removal waits for, and its bytes are at us."""
    site, content = draining["us"], b"written before the proof"
    digest = Digest.of(content)
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    upload = site.graph.uploads.append(upload, request_body(content))
    site.database.run("UPDATE blobupload SET changed_at = now() - interval '1 hour'")
    with long_proof(draining, "us"):
        site.graph.uploads.finish(upload, digest, request_body(b""))
        assert site.placements(digest) == {"eu": "good"}
    assert site.has_object("eu", digest)


def test_a_push_that_wrote_during_the_proof_is_placed_elsewhere(draining: MemoryRegistry) -> None:
    """Its process has not noticed the drain at the first request."""
    site, content = draining["us"], b"written during the proof"
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    with long_proof(draining, "us"):
        upload = site.graph.uploads.append(upload, request_body(content))
    assert "us" not in LocationTable(site.database).states()
    site.graph.uploads.finish(upload, Digest.of(content), request_body(b""))
    assert site.placements(Digest.of(content)) == {"eu": "good"}
    assert site.has_object("eu", Digest.of(content))


def test_a_push_to_a_lost_location_does_not_wait_for_the_proof(registry: MemoryRegistry) -> None:
    site = registry["us"]
    site.push(b"the repository exists")
    reset_placements(site.database, LOCATIONS)
    place_blobs(site.database, 20, ["us"])
    with long_proof(registry, "us", accepted_loss=20):
        digest = site.push(b"pushed while the proof runs")
    assert site.placements(digest) == {"eu": "good"}


def test_removal_is_refused_while_an_upload_has_bytes_there_which_then_succeeds(
    draining: MemoryRegistry,
) -> None:
    site, content = draining["us"], b"under way"
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    upload = site.graph.uploads.append(upload, request_body(content))
    with pytest.raises(ChangeRefused, match="1 uploads have bytes at 'us'"):
        remove(site.database, "us")
    site.graph.uploads.finish(upload, Digest.of(content), request_body(b""))
    assert site.placements(Digest.of(content)) == {"us": "good"}


def test_a_copy_that_completes_during_the_proof_is_not_placed(registry: MemoryRegistry) -> None:
    site = registry["us"]
    digest = registry["eu"].push(b"copied to us")
    tasks = Tasks(site.database, "us")
    claimed = tasks.claim()
    LocationTable(site.database).set_draining("us", LOCATIONS)
    with long_proof(registry, "us"):
        assert tasks.finish(claimed) == set()
    assert site.placements(digest) == {"eu": "good"}


def test_deletion_of_over_replicated_copies_does_not_wait_for_the_proof(
    draining: MemoryRegistry,
) -> None:
    """Copies at ap, which a policy excludes, are deleted because those at eu remain."""
    database = draining["us"].database
    place_blobs(database, 5, ["eu", "ap"], "over-replicated")
    Policies(database, LOCATIONS).set(Subject.parse(f"{SUPERUSER}/app"), Policy(excluded=("ap",)))
    with long_proof(draining, "us"):
        assert OverReplication(database, [], RecordingCache(), links=0).step()
    assert blobs_without_placement(database) == 0


def test_quarantine_of_a_copy_during_the_removal_undoes_it(draining: MemoryRegistry) -> None:
    database = draining["us"].database
    steps = Removal(LocationTable(database), batch=7).steps("us")
    next(steps)
    next(steps)
    database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'eu'"
        " AND p.storage_id = (SELECT min(id) FROM imagestorage)"
    )
    with pytest.raises(ChangeRefused, match="the other copies of 1 blobs"):
        list(steps)
    assert LocationTable(database).states()["us"] == "draining"
    assert blobs_without_placement(database) == 0


def test_a_copy_quarantined_while_a_lost_location_is_removed_is_recorded(
    registry: MemoryRegistry,
) -> None:
    database = registry["us"].database
    registry["us"].push(b"the repository exists")
    reset_placements(database, LOCATIONS)
    place_blobs(database, 3, ["us", "eu"])
    steps = Removal(LocationTable(database)).steps("us", accepted_loss=0)
    next(steps)
    database.run("UPDATE imagestorageplacement SET state = 'suspect'")
    assert list(steps)
    assert database.read("SELECT count(*) FROM lostblob")[0][0] == 3


def test_a_task_written_concurrently_with_the_removal_is_deleted_with_the_location(
    draining: MemoryRegistry,
) -> None:
    """Its statement starts before the location is marked, and ends just before the removal does."""
    database = draining["us"].database
    with ThreadPoolExecutor(1) as executor:
        with draining["ap"].database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO replicationtask (storage_id, location_id)"
                " SELECT min(s.id), l.id FROM imagestorage s, imagestoragelocation l"
                " WHERE l.name = 'us' GROUP BY l.id"
            )
            removing = executor.submit(remove, draining["eu"].database, "us")
            wait_until("it waits for the task", lambda: waiting_for_locks(database) == 1)
        removing.result()
    assert "us" not in LocationTable(database).states()


def test_a_task_written_after_the_mark_is_deleted_with_the_location(
    draining: MemoryRegistry,
) -> None:
    database = draining["us"].database
    steps = Removal(LocationTable(database)).steps("us")
    next(steps)
    database.run(
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'us'"
    )
    assert list(steps)
    assert "us" not in LocationTable(database).states()


def push_in_some_way(site: MemorySite, content: bytes) -> Digest:
    """Push in one request, in two, or in chunks, at random."""
    digest, uploads = Digest.of(content), site.graph.uploads
    upload = uploads.start(site.repository, SUPERUSER)
    way = random.choice(["one request", "two requests", "chunks"])
    if way == "one request":
        uploads.finish(upload, digest, request_body(content))
    elif way == "two requests":
        uploads.finish(uploads.append(upload, request_body(content)), digest, request_body(b""))
    else:
        uploads.finish(
            uploads.append(upload, request_body(content[:5])), digest, request_body(content[5:])
        )
    return digest


def check_pushes(registry: MemoryRegistry, rounds: int) -> None:
    """Push to us and eu while us is drained, removed and registered again."""
    us, database = registry["us"], registry["ap"].database
    us.push(b"the repository exists")
    for number in range(rounds):
        reset_placements(database, LOCATIONS)
        for site in registry.sites.values():
            site.locations.states.refresh(database)
        done = threading.Event()
        accepted = random.choice([None, 0])
        # Chunks in a lost store are lost before they become a blob.
        excused = () if accepted is None else (UploadUnknown,)

        def pushes(
            site: MemorySite,
            name: str,
            done: threading.Event,
            excused: tuple[type[Exception], ...],
        ) -> list[Digest]:
            digests: list[Digest] = []
            while not done.is_set():
                # Some contents are equal, so that placements are added and removed concurrently.
                same = len(digests) % 3 == 0
                content = b"the same for all" if same else f"{name} {len(digests)}".encode()
                with suppress(*excused):
                    digests.append(push_in_some_way(site, content))
            return digests

        with ThreadPoolExecutor(3) as executor:
            pushing = [
                executor.submit(pushes, registry[home], f"{home} {number}", done, excused)
                for home in ("us", "us", "eu")
            ]
            try:
                time.sleep(random.random() * 0.05)
                LocationTable(database).set_draining("us", LOCATIONS)
                time.sleep(random.random() * 0.05)
                removed = _removed_or_refused(database, accepted)
            finally:
                done.set()
            digests = [digest for one in pushing for digest in one.result()]
        assert digests
        assert ("us" not in LocationTable(database).states()) is removed
        for digest in digests:
            good = us.placements(digest)
            assert good, digest
            assert all(us.has_object(location, digest) for location in good), digest


def _removed_or_refused(database: Database, accepted_loss: int | None) -> bool:
    try:
        remove(database, "us", accepted_loss)
    except (ChangeRefused, LossNotAccepted):
        return False
    return True


def test_a_removal_loses_no_acknowledged_push(registry: MemoryRegistry) -> None:
    check_pushes(registry, QUICK)


@pytest.mark.long
def test_hundreds_of_removals_lose_no_acknowledged_push(registry: MemoryRegistry) -> None:
    check_pushes(registry, LONG)

"""A copy that another site reads incorrectly is verified by its own site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from atoll.names import Digest
from atoll.placement.checks.doubt_review import DoubtReview
from atoll.placement.checks.doubts import Doubts
from atoll.placement.checks.plausibility import IMPLAUSIBLE, RecentReads
from atoll.placement.checks.verify import Verifier
from atoll.placement.tasks import Task, Tasks
from atoll.rate_limit import RateLimiter
from atoll.replication.worker import Worker
from atoll.storage.base import blob_key

from ..caches import RecordingCache
from ..integration.services import wait_until
from .memory_store import MemoryStore
from .sites import MemoryRegistry, MemorySite

PAGE = b"<html>log in first</html>"


def intercept(site: MemorySite, location: str, digests: list[Digest]) -> MemoryStore:
    """Make only `site` read PAGE instead of these blobs; return the store as `site` sees it."""
    seen = MemoryStore(location)
    seen.objects = site.stores[location].objects
    seen.wrong_bytes = {blob_key(digest): PAGE for digest in digests}
    site.locations.stores[location] = seen
    return seen


@contextmanager
def running_workers(*sites: MemorySite) -> Iterator[list[Worker]]:
    workers = [site.worker() for site in sites]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def make_review(
    site: MemorySite, recent: RecentReads | None = None, cache: RecordingCache | None = None
) -> DoubtReview:
    locations = site.locations
    verifier = Verifier(site.database, locations.stores, locations.health, RateLimiter(None))
    return DoubtReview(
        site.database,
        verifier,
        locations.preference[0],
        reachable=locations.stores,
        recent=recent or RecentReads(),
        cache=cache or RecordingCache(),
    )


def states(site: MemorySite) -> Counter[tuple[str, str]]:
    rows = site.database.read(
        "SELECT l.name, p.state FROM imagestorageplacement p"
        " JOIN imagestoragelocation l ON l.id = p.location_id"
    )
    return Counter((row[0], row[1]) for row in rows)


def doubts(site: MemorySite) -> list[tuple[str, str]]:
    """Return the digest and the reporting location of each doubt."""
    rows = site.database.read(
        "SELECT s.content_checksum, d.doubted_by FROM placementdoubt d"
        " JOIN imagestorage s ON s.id = d.storage_id ORDER BY 1"
    )
    return [(row[0], row[1]) for row in rows]


def make_tasks_due(site: MemorySite) -> None:
    site.database.run("UPDATE replicationtask SET available_at = now() WHERE lease_token IS NULL")


def failed_tasks(site: MemorySite) -> int:
    rows = site.database.read("SELECT count(*) FROM replicationtask WHERE last_error IS NOT NULL")
    return int(rows[0][0])


def doubt(site: MemorySite, reporter: str, digest: Digest) -> None:
    """Record that the worker of `reporter` read wrong bytes of `digest` at us."""
    task = claimed(site, reporter, digest)
    Doubts(site.database, reporter, RecentReads()).record_mismatch(task, "us", "the digest differs")


def claimed(site: MemorySite, location: str, digest: Digest) -> Task:
    """Claim all tasks of `location`, despite their leases, and return the one for `digest`."""
    site.database.run("UPDATE replicationtask SET lease_expires = now()")
    (task,) = [one for one in Tasks(site.database, location).claim(limit=9) if one.digest == digest]
    return task


def test_a_faulty_path_quarantines_no_copy_and_copying_completes_after_its_repair(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(f"blob {number}".encode()) for number in range(200)]
    seen = intercept(eu, "us", digests)
    with running_workers(eu, us):
        wait_until("each copy has failed", lambda: failed_tasks(eu) == 200)
        assert states(us) == {("us", "good"): 200}
        # The worker stops recording doubts once their number is implausible.
        assert 0 < len(doubts(us)) <= 5
        assert IMPLAUSIBLE.labels("us")._value.get() == 1
        assert make_review(us).step()
        assert doubts(us) == []
        seen.wrong_bytes.clear()
        make_tasks_due(eu)
        wait_until("every blob is at both locations", lambda: states(us)["eu", "good"] == 200)
    assert states(us) == {("us", "good"): 200, ("eu", "good"): 200}
    assert IMPLAUSIBLE.labels("us")._value.get() == 0


def test_quarantined_intact_copies_are_restored_without_another_source(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(f"blob {number}".encode()) for number in range(200)]
    # As earlier versions left it: all copies in quarantine, and a task for each location.
    us.database.run("UPDATE imagestorageplacement SET state = 'suspect'")
    us.database.run(
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT storage_id, location_id FROM imagestorageplacement"
    )
    review = make_review(us)
    while review.step():
        continue
    assert states(us) == {("us", "good"): 200}
    with running_workers(eu):
        make_tasks_due(eu)
        wait_until("every blob is at both locations", lambda: states(us)["eu", "good"] == 200)
    assert all(us.has_object("eu", digest) for digest in digests)


def test_a_quarantined_intact_copy_is_restored_without_copying(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    with running_workers(registry["eu"]):
        wait_until("it is copied", lambda: us.placements(digest).get("eu") == "good")
    us.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'us';"
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'us'"
    )
    puts = us.stores["us"].requests["put"]
    with running_workers(us):
        wait_until("it is good again", lambda: us.placements(digest)["us"] == "good")
    assert us.stores["us"].requests["put"] == puts


def test_a_corrupt_copy_is_doubted_read_last_then_quarantined_and_healed_by_its_own_site(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digest = us.push(b"content")
    us.stores["ap"].objects[blob_key(digest)] = b"content"
    us.database.run(
        "INSERT INTO imagestorageplacement (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'ap'"
    )
    us.stores["us"].objects[blob_key(digest)] = b"CONTENT"
    with running_workers(eu):
        wait_until("it is doubted", lambda: doubts(us) == [(str(digest), "eu")])
        wait_until("the task is released", lambda: failed_tasks(eu) == 1)
        make_tasks_due(eu)
        wait_until("it is copied", lambda: us.has_object("eu", digest))
    assert us.stores["us"].requests["read"] == 1
    assert us.placements(digest)["us"] == "good"
    cache = RecordingCache()
    assert make_review(us, cache=cache).step()
    assert us.placements(digest)["us"] == "suspect"
    assert (doubts(us), cache.forgotten) == ([], [str(digest)])
    with running_workers(us):
        wait_until("it is healed", lambda: us.placements(digest)["us"] == "good")
    assert us.has_object("us", digest)


def test_a_missing_copy_is_quarantined_by_its_own_site(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    del us.stores["us"].objects[blob_key(digest)]
    assert make_review(us).step()
    assert us.placements(digest) == {"us": "suspect"}
    tasks = us.database.read(
        "SELECT l.name FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
    )
    assert ["us"] in tasks


def test_a_source_with_a_missing_object_is_doubted(registry: MemoryRegistry) -> None:
    us, eu = registry["us"], registry["eu"]
    digest = us.push(b"content")
    del us.stores["us"].objects[blob_key(digest)]
    with running_workers(eu):
        wait_until("it is doubted", lambda: doubts(us) == [(str(digest), "eu")])
    assert us.placements(digest) == {"us": "good"}


def test_a_doubt_remains_while_the_store_is_unavailable(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    us.stores["us"].unreadable = {blob_key(digest)}
    review = make_review(us)
    assert not review.step()
    assert not review.step()
    # It is not read again within a minute.
    assert us.stores["us"].requests["read"] == 1
    us.stores["us"].down = True
    us.probe("us")
    us.database.run("UPDATE placementdoubt SET looked_at = now() - interval '61 seconds'")
    assert not review.step()
    assert (doubts(us), us.placements(digest)) == ([(str(digest), "eu")], {"us": "good"})
    us.stores["us"].down = False
    us.probe("us")
    us.stores["us"].unreadable = set()
    assert review.step()
    assert doubts(us) == []


def test_a_site_suspects_its_own_path_if_all_doubted_copies_are_corrupt(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    digests = [us.push(f"blob {number}".encode()) for number in range(8)]
    for digest in digests:
        doubt(us, "eu", digest)
    us.stores["us"].wrong_bytes = {blob_key(digest): PAGE for digest in digests}
    assert not make_review(us).step()
    assert states(us) == {("us", "good"): 8}
    assert len(doubts(us)) == 8


def test_a_third_site_verifies_doubts_for_a_site_without_a_running_worker(
    registry: MemoryRegistry,
) -> None:
    us, eu, ap = registry["us"], registry["eu"], registry["ap"]
    digest = us.push(b"content")
    us.stores["us"].objects[blob_key(digest)] = b"CONTENT"
    doubt(us, "eu", digest)
    assert not make_review(ap).step()
    us.database.run("UPDATE placementdoubt SET doubted_at = now() - interval '6 minutes'")
    us.database.run(
        "INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint)"
        " VALUES (gen_random_uuid(), 'replication', 'host', '1', '{us,eu}', '{}')"
    )
    assert not make_review(ap).step()
    us.database.run("UPDATE instance SET seen_at = now() - interval '2 minutes'")
    assert not make_review(eu).step()
    assert us.placements(digest) == {"us": "good"}
    assert make_review(ap).step()
    assert us.placements(digest) == {"us": "suspect"}


def test_a_copy_is_doubted_once_an_hour_by_the_same_worker(registry: MemoryRegistry) -> None:
    us, now = registry["us"], [0.0]
    digest = us.push(b"content")
    recorded = Doubts(us.database, "eu", RecentReads(monotonic=lambda: now[0]))

    def report() -> bool:
        recorded.record_mismatch(claimed(us, "eu", digest), "us", "the digest differs")
        return doubts(us) != []

    assert report()
    assert make_review(us).step()
    assert not report()
    now[0] += 3601
    assert report()


def test_a_doubt_is_deleted_with_its_placement(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    us.database.run("DELETE FROM imagestorageplacement")
    assert doubts(us) == []

"""A copy that another site finds wrong is judged by its own site, and good copies stay good."""

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

from ..integration.services import wait_until
from .memory_store import MemoryStore
from .sites import MemoryRegistry, MemorySite

PAGE = b"<html>log in first</html>"


def intercept(site: MemorySite, location: str, digests: list[Digest]) -> MemoryStore:
    """Let `site` alone read PAGE instead of these blobs; return the store as `site` sees it."""
    seen = MemoryStore(location)
    seen.objects = site.stores[location].objects
    seen.lies = {blob_key(digest): PAGE for digest in digests}
    site.locations.stores[location] = seen
    return seen


@contextmanager
def working(*sites: MemorySite) -> Iterator[list[Worker]]:
    workers = [site.worker() for site in sites]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def make_review(
    site: MemorySite, recent: RecentReads | None = None, forgotten: list[str] | None = None
) -> DoubtReview:
    locations = site.locations
    verifier = Verifier(site.database, locations.stores, locations.health, RateLimiter(None))
    return DoubtReview(
        site.database,
        verifier,
        locations.preference[0],
        reachable=locations.stores,
        recent=recent or RecentReads(),
        forget_cached=(forgotten if forgotten is not None else []).append,
    )


def states(site: MemorySite) -> Counter[tuple[str, str]]:
    rows = site.database.read(
        "SELECT l.name, p.state FROM imagestorageplacement p"
        " JOIN imagestoragelocation l ON l.id = p.location_id"
    )
    return Counter((row[0], row[1]) for row in rows)


def doubted(site: MemorySite) -> list[tuple[str, str]]:
    """Return the digest and the accuser of each doubt."""
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


def doubt(site: MemorySite, accuser: str, digest: Digest) -> None:
    """Record that the worker of `accuser` read wrong bytes of `digest` at us."""
    task = claimed(site, accuser, digest)
    Doubts(site.database, accuser, RecentReads()).wrong(task, "us", "the digest differs")


def claimed(site: MemorySite, location: str, digest: Digest) -> Task:
    """Claim all tasks of `location`, whoever holds their leases, and return the one for `digest`."""
    site.database.run("UPDATE replicationtask SET lease_expires = now()")
    (task,) = [one for one in Tasks(site.database, location).claim(limit=9) if one.digest == digest]
    return task


def test_a_bad_path_quarantines_nothing_and_all_is_copied_once_it_is_repaired(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(f"blob {number}".encode()) for number in range(200)]
    seen = intercept(eu, "us", digests)
    with working(eu, us):
        wait_until("each copy has failed", lambda: failed_tasks(eu) == 200)
        assert states(us) == {("us", "good"): 200}
        # The worker stops doubting where too much is wrong to be plausible.
        assert 0 < len(doubted(us)) <= 5
        assert IMPLAUSIBLE.labels("us")._value.get() == 1
        assert make_review(us).turn()
        assert doubted(us) == []
        seen.lies.clear()
        make_tasks_due(eu)
        wait_until("all is at both", lambda: states(us)["eu", "good"] == 200)
    assert states(us) == {("us", "good"): 200, ("eu", "good"): 200}
    assert IMPLAUSIBLE.labels("us")._value.get() == 0


def test_right_copies_in_quarantine_come_back_without_another_source(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    digests = [us.push(f"blob {number}".encode()) for number in range(200)]
    # As versions before this one left it: all in quarantine, and a task for each location.
    us.database.run("UPDATE imagestorageplacement SET state = 'suspect'")
    us.database.run(
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT storage_id, location_id FROM imagestorageplacement"
    )
    review = make_review(us)
    while review.turn():
        continue
    assert states(us) == {("us", "good"): 200}
    with working(eu):
        make_tasks_due(eu)
        wait_until("all is at both", lambda: states(us)["eu", "good"] == 200)
    assert all(us.has_object("eu", digest) for digest in digests)


def test_a_right_copy_in_quarantine_is_not_copied_again(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    with working(registry["eu"]):
        wait_until("it is copied", lambda: us.placements(digest).get("eu") == "good")
    us.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'us';"
        "INSERT INTO replicationtask (storage_id, location_id)"
        " SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'us'"
    )
    puts = us.stores["us"].requests["put"]
    with working(us):
        wait_until("it is good again", lambda: us.placements(digest)["us"] == "good")
    assert us.stores["us"].requests["put"] == puts


def test_a_wrong_copy_is_doubted_read_last_and_quarantined_and_healed_by_its_own_site(
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
    with working(eu):
        wait_until("it is doubted", lambda: doubted(us) == [(str(digest), "eu")])
        wait_until("the task is released", lambda: failed_tasks(eu) == 1)
        make_tasks_due(eu)
        wait_until("it is copied", lambda: us.has_object("eu", digest))
    assert us.stores["us"].requests["read"] == 1
    assert us.placements(digest)["us"] == "good"
    forgotten: list[str] = []
    assert make_review(us, forgotten=forgotten).turn()
    assert us.placements(digest)["us"] == "suspect"
    assert (doubted(us), forgotten) == ([], [str(digest)])
    with working(us):
        wait_until("it is healed", lambda: us.placements(digest)["us"] == "good")
    assert us.has_object("us", digest)


def test_a_missing_copy_is_quarantined_by_its_own_site(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    del us.stores["us"].objects[blob_key(digest)]
    assert make_review(us).turn()
    assert us.placements(digest) == {"us": "suspect"}
    tasks = us.database.read(
        "SELECT l.name FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
    )
    assert ["us"] in tasks


def test_a_source_without_the_object_is_doubted(registry: MemoryRegistry) -> None:
    us, eu = registry["us"], registry["eu"]
    digest = us.push(b"content")
    del us.stores["us"].objects[blob_key(digest)]
    with working(eu):
        wait_until("it is doubted", lambda: doubted(us) == [(str(digest), "eu")])
    assert us.placements(digest) == {"us": "good"}


def test_a_doubt_stays_while_the_store_is_unavailable(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    us.stores["us"].sick = {blob_key(digest)}
    review = make_review(us)
    assert not review.turn()
    assert not review.turn()
    # Within a minute it is not read again.
    assert us.stores["us"].requests["read"] == 1
    us.stores["us"].down = True
    us.probe("us")
    us.database.run("UPDATE placementdoubt SET looked_at = now() - interval '61 seconds'")
    assert not review.turn()
    assert (doubted(us), us.placements(digest)) == ([(str(digest), "eu")], {"us": "good"})
    us.stores["us"].down = False
    us.probe("us")
    us.stores["us"].sick = set()
    assert review.turn()
    assert doubted(us) == []


def test_a_site_that_finds_all_its_doubted_copies_wrong_suspects_its_own_path(
    registry: MemoryRegistry,
) -> None:
    us = registry["us"]
    digests = [us.push(f"blob {number}".encode()) for number in range(8)]
    for digest in digests:
        doubt(us, "eu", digest)
    us.stores["us"].lies = {blob_key(digest): PAGE for digest in digests}
    assert not make_review(us).turn()
    assert states(us) == {("us", "good"): 8}
    assert len(doubted(us)) == 8


def test_another_site_than_the_accuser_reads_for_a_site_without_a_live_worker(
    registry: MemoryRegistry,
) -> None:
    us, eu, ap = registry["us"], registry["eu"], registry["ap"]
    digest = us.push(b"content")
    us.stores["us"].objects[blob_key(digest)] = b"CONTENT"
    doubt(us, "eu", digest)
    assert not make_review(ap).turn()
    us.database.run("UPDATE placementdoubt SET doubted_at = now() - interval '6 minutes'")
    us.database.run(
        "INSERT INTO instance (id, role, hostname, version, preference, bundle_fingerprint)"
        " VALUES (gen_random_uuid(), 'replication', 'host', '1', '{us,eu}', '{}')"
    )
    assert not make_review(ap).turn()
    us.database.run("UPDATE instance SET seen_at = now() - interval '2 minutes'")
    assert not make_review(eu).turn()
    assert us.placements(digest) == {"us": "good"}
    assert make_review(ap).turn()
    assert us.placements(digest) == {"us": "suspect"}


def test_a_copy_is_doubted_once_an_hour_by_the_same_worker(registry: MemoryRegistry) -> None:
    us, now = registry["us"], [0.0]
    digest = us.push(b"content")
    doubts = Doubts(us.database, "eu", RecentReads(monotonic=lambda: now[0]))

    def accuse() -> bool:
        doubts.wrong(claimed(us, "eu", digest), "us", "the digest differs")
        return doubted(us) != []

    assert accuse()
    assert make_review(us).turn()
    assert not accuse()
    now[0] += 3601
    assert accuse()


def test_a_doubt_ends_with_its_placement(registry: MemoryRegistry) -> None:
    us = registry["us"]
    digest = us.push(b"content")
    doubt(us, "eu", digest)
    us.database.run("DELETE FROM imagestorageplacement")
    assert doubted(us) == []

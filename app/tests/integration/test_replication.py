"""Every blob is copied to every required location, whatever fails in between."""

from __future__ import annotations

import os

import pytest
from atoll.db.leased_queue import LeaseLost
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler

from .images import LARGE
from .placements import both_locations, object_key, placements
from .services import Services, wait_until
from .site import Client, Site

REPOSITORY = "admin/app"


def test_a_pushed_blob_is_copied_to_the_other_site(us: Site, eu: Site, services: Services) -> None:
    eu.start_worker()
    data = os.urandom(100_000)
    digest = Client(us).push_blob(REPOSITORY, data)
    wait_until("the blob is at both locations", lambda: placements(us, digest) == both_locations())
    answer = services.eu.client.get_object(Bucket=services.eu.bucket, Key=object_key(digest))
    assert answer["Body"].read() == data
    pulled = Client(eu).request(
        "GET", f"/v2/{REPOSITORY}/blobs/{digest}", f"repository:{REPOSITORY}:pull"
    )
    assert f":{services.eu.port}/" in pulled.headers["Location"]


def test_a_blob_is_served_from_another_location_until_it_is_copied(
    us: Site, eu: Site, services: Services
) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"only at us")
    answer = Client(eu).request(
        "GET", f"/v2/{REPOSITORY}/blobs/{digest}", f"repository:{REPOSITORY}:pull"
    )
    assert f":{services.us.port}/" in answer.headers["Location"]


def test_a_worker_killed_during_a_copy_loses_nothing_and_places_nothing_early(
    us: Site, eu: Site, services: Services
) -> None:
    data = os.urandom(1_000_000) * (LARGE // 1_000_000)
    digest = Client(us).push_blob(REPOSITORY, data)
    eu.start_worker()
    try:
        wait_until(
            "parts of the copy are at eu",
            lambda: bool(
                us.services.database.read(
                    "SELECT 1 FROM replicationtask WHERE upload_id IS NOT NULL"
                )
            ),
        )
        # The source hangs, so the copy cannot end before the worker is killed.
        services.us.container.pause()
        eu.stop_worker(kill=True)
    finally:
        services.us.container.unpause()
    assert placements(us, digest) == {"usstorage"}
    assert object_key(digest) not in services.eu.objects()
    # The test does not wait for the killed worker's lease to expire.
    us.services.database.run("UPDATE replicationtask SET lease_expires = now()")
    eu.start_worker()
    wait_until("the blob is at both locations", lambda: placements(us, digest) == both_locations())
    assert services.eu.client.head_object(Bucket=services.eu.bucket, Key=object_key(digest))[
        "ContentLength"
    ] == len(data)
    assert services.eu.open_uploads() == 0


def test_wrong_bytes_are_not_placed_and_are_quarantined_at_the_source(
    us: Site, eu: Site, services: Services
) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"right bytes")
    services.us.client.put_object(
        Bucket=services.us.bucket, Key=object_key(digest), Body=b"wrong bytes"
    )
    eu.start_worker()
    doubts = "SELECT 1 FROM placementdoubt"
    wait_until("the copy is doubted", lambda: bool(us.services.database.read(doubts)))
    assert placements(us, digest) == {"usstorage"}
    us.start_worker()
    wait_until("the copy is in quarantine", lambda: placements(us, digest, "suspect") != set())
    assert placements(us, digest) == set()
    assert us.services.database.read(doubts) == []
    assert object_key(digest) not in services.eu.objects()


def test_a_quarantined_placement_is_replaced_from_a_good_copy(
    us: Site, eu: Site, services: Services
) -> None:
    eu.start_worker()
    digest = Client(us).push_blob(REPOSITORY, b"right bytes")
    wait_until("the blob is at both locations", lambda: placements(us, digest) == both_locations())
    services.us.client.put_object(
        Bucket=services.us.bucket, Key=object_key(digest), Body=b"wrong bytes"
    )
    us.services.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'usstorage'"
    )
    assert Reconciler(us.services.database, ["usstorage", "eustorage"]).everything() == 1
    us.start_worker()
    wait_until("the copy is replaced", lambda: placements(us, digest) == both_locations())
    answer = services.us.client.get_object(Bucket=services.us.bucket, Key=object_key(digest))
    assert answer["Body"].read() == b"right bytes"


def test_a_dead_target_delays_only_its_own_copies(us: Site, eu: Site, services: Services) -> None:
    services.eu.container.pause()
    try:
        digest = Client(us).push_blob(REPOSITORY, b"for eu, later")
        eu.start_worker()
        assert placements(us, digest) == {"usstorage"}
    finally:
        services.eu.container.unpause()
    wait_until("the blob is at both locations", lambda: placements(us, digest) == both_locations())


def test_the_worker_polls_for_tasks_without_redis(us: Site, eu: Site, services: Services) -> None:
    services.redis.pause()
    try:
        eu.start_worker()
        digest = Client(us).push_blob(REPOSITORY, b"no bell rings")
        wait_until(
            "the blob is at both locations", lambda: placements(us, digest) == both_locations()
        )
    finally:
        services.redis.unpause()


def test_the_transaction_that_places_a_blob_inserts_its_tasks(us: Site) -> None:
    """It inserts one row for each target, and none for locations that have the blob."""
    digests = {Client(us).push_blob(REPOSITORY, data) for data in (b"a", b"b", b"a")}
    rows = us.services.database.read(
        "SELECT s.content_checksum, l.name FROM replicationtask t"
        " JOIN imagestorage s ON s.id = t.storage_id"
        " JOIN imagestoragelocation l ON l.id = t.location_id"
    )
    assert sorted(map(tuple, rows)) == sorted((digest, "eustorage") for digest in digests)


def test_the_reconciler_restores_a_lost_task(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"its task gets lost")
    us.services.database.run("DELETE FROM replicationtask")
    assert Reconciler(us.services.database, ["usstorage", "eustorage"]).everything() == 1
    assert Reconciler(us.services.database, ["usstorage", "eustorage"]).everything() == 0


def test_a_worker_that_lost_its_lease_cannot_place_the_copy(us: Site) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"claimed twice")
    tasks = Tasks(us.services.database, "eustorage")
    late = tasks.claim(large=False, limit=2)
    assert len(late) == 1
    assert tasks.claim(large=False, limit=2) == []
    us.services.database.run("UPDATE replicationtask SET lease_expires = now()")
    second = tasks.claim(large=False, limit=2)
    assert tasks.finish(late) == set()
    assert tasks.extend(late) == set()
    with pytest.raises(LeaseLost):
        tasks.record_upload(late[0], "an upload")
    assert placements(us, digest) == {"usstorage"}
    assert tasks.finish(second) == {second[0].lease_token}
    assert placements(us, digest) == both_locations()

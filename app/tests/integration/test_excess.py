"""Over-replication: copies that policies exclude are deleted once no reader depends on them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.placement.policies import Policy, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.over_replication import OverReplication

from .images import push_image_without_layers, sha256
from .placements import (
    REQUIRED,
    delete_queue,
    exclude,
    object_key,
    place_everything,
    placements,
    policies,
)
from .services import Services, wait_until
from .site import Client, Site

HOME, FREE = "home/app", "free/app"


@pytest.fixture
def site(site_with_third_location: Site) -> Site:
    return site_with_third_location


def over_replication(site: Site, links: float = 0) -> OverReplication:
    return OverReplication(
        site.services.database,
        REQUIRED,
        site.services.placement_cache,
        links=links,
    )


def enforce(site: Site, *words: str) -> tuple[int, dict[str, dict[str, int]]]:
    status, out, err = site.command_here("policy", "enforce", "--json", *words)
    assert out, err
    return status, json.loads(out)["locations"]


def mount(site: Site, digest: str, source: str, target: str) -> int:
    return (
        Client(site)
        .request(
            "POST",
            f"/v2/{target}/blobs/uploads/",
            f"repository:{target}:pull,push repository:{source}:pull",
            params={"mount": digest, "from": source},
        )
        .status_code
    )


@pytest.fixture
def digest(site: Site) -> str:
    """A blob at us, where its repository excludes it, that is not copied to eu yet."""
    push_image_without_layers(site, HOME, b"{}")
    exclude(site, HOME, "usstorage")
    return sha256(b"{}")


def test_an_excluded_copy_is_deleted_once_all_required_locations_have_the_blob(
    site: Site, services: Services, digest: str
) -> None:
    assert enforce(site) == (
        1,
        {
            "usstorage": {
                "removed_blobs": 0,
                "removed_bytes": 0,
                "waiting_blobs": 1,
                "waiting_bytes": 2,
            }
        },
    )
    assert "1 copies (2 bytes) kept until" in site.command_here("policy", "enforce")[1]
    place_everything(site, "eustorage")
    status, found = enforce(site, "--dry-run")
    assert (status, found["usstorage"]["removed_blobs"]) == (1, 1)
    assert placements(site, digest) == {"usstorage", "eustorage"}
    status, found = enforce(site)
    assert (status, found["usstorage"]["removed_blobs"]) == (0, 1)
    assert placements(site, digest) == {"eustorage"}
    shown = json.loads(site.command_here("policy", "show", HOME, "--json")[1])
    assert shown["excess"] == []
    # Clients that were redirected to the object before have time to fetch it.
    assert delete_queue(site, "usstorage").turn() == 0
    assert object_key(digest) in services.us.objects()
    site.services.database.run("UPDATE objectdeletion SET available_at = now()")
    assert delete_queue(site, "usstorage").turn() == 1
    assert object_key(digest) not in services.us.objects()
    assert enforce(site) == (0, {})


def test_pulls_continue_from_other_locations_and_a_push_does_not_recreate_the_copy(
    site: Site, services: Services, digest: str
) -> None:
    assert Client(site).pull_blob(HOME, digest).content == b"{}"
    services.eu.client.put_object(Bucket=services.eu.bucket, Key=object_key(digest), Body=b"{}")
    place_everything(site, "eustorage")
    assert over_replication(site).step()
    assert delete_queue(site, "usstorage").turn() == 1
    assert Client(site).pull_blob(HOME, digest).content == b"{}"
    Client(site).push_blob(HOME, b"{}")
    assert placements(site, digest) == {"eustorage"}
    assert services.us.objects() == set()


def test_a_copy_that_another_repository_permits_stays_while_that_uses_the_blob(
    site: Site, digest: str
) -> None:
    place_everything(site, "eustorage")
    push_image_without_layers(site, FREE, b"{}")
    assert enforce(site) == (0, {})
    assert placements(site, digest) == {"usstorage", "eustorage"}
    exclude(site, FREE, "usstorage")
    assert over_replication(site).step()
    assert placements(site, digest) == {"eustorage"}


def test_an_excluded_copy_stays_while_a_required_location_lacks_the_blob(
    site: Site, digest: str
) -> None:
    both = Policy(extra=("asiastorage",), excluded=("usstorage",))
    policies(site).set(Subject.parse(HOME), both)
    place_everything(site, "eustorage")
    assert not over_replication(site).step()
    Reconciler(site.services.database, REQUIRED).everything()
    place_everything(site, "asiastorage")
    # A suspect copy does not count.
    site.services.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'eustorage'"
    )
    assert not over_replication(site).step()
    site.services.database.run("UPDATE imagestorageplacement SET state = 'good'")
    assert over_replication(site).step()
    assert placements(site, digest) == {"eustorage", "asiastorage"}


def test_a_blob_mounted_during_enforcement_keeps_its_copy(
    site: Site, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount commits between the scan of all blobs and the transaction that deletes the copy."""
    push_image_without_layers(site, FREE, b"something else")
    place_everything(site, "eustorage")
    database, transaction = site.services.database, site.services.database.transaction
    statuses = []

    def after_the_mount() -> object:
        monkeypatch.undo()
        statuses.append(mount(site, digest, HOME, FREE))
        return transaction()

    monkeypatch.setattr(database, "transaction", after_the_mount)
    assert not over_replication(site).step()
    assert statuses == [201]
    assert placements(site, digest) == {"usstorage", "eustorage"}


def test_a_blob_whose_digest_is_locked_is_skipped_without_waiting(site: Site, digest: str) -> None:
    place_everything(site, "eustorage")
    with site.services.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", [digest])
        assert not over_replication(site).step()
    assert over_replication(site).step()


def test_a_copy_that_a_later_mount_needs_is_restored(
    site: Site, services: Services, digest: str
) -> None:
    push_image_without_layers(site, FREE, b"something else")
    services.eu.client.put_object(Bucket=services.eu.bucket, Key=object_key(digest), Body=b"{}")
    place_everything(site, "eustorage")
    assert over_replication(site).step()
    assert mount(site, digest, HOME, FREE) == 201
    site.copy_all()
    assert placements(site, digest) == {"usstorage", "eustorage"}
    # The deletion finds that the object is referenced again.
    delete_queue(site, "usstorage").turn()
    assert object_key(digest) in services.us.objects()


def test_a_copy_at_a_location_that_begins_to_drain_does_not_count(site: Site, digest: str) -> None:
    """The copies are redundant because of eustorage, whose state changes at the same time."""
    place_everything(site, "eustorage")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as executor:
        with site.services.database.transaction() as cursor:
            cursor.execute(
                "UPDATE imagestoragelocation SET state = 'draining' WHERE name = 'eustorage'"
            )
            step = executor.submit(over_replication(site).step)
            wait_until("it waits for the lock", lambda: site.services.database.read(waiting)[0][0])
        assert not step.result()
    assert "usstorage" in placements(site, digest)


def test_an_excluded_copy_stays_while_a_copy_to_it_is_in_progress(site: Site, digest: str) -> None:
    place_everything(site, "eustorage")
    site.services.database.run(
        "INSERT INTO replicationtask (storage_id, location_id) SELECT s.id, l.id"
        " FROM imagestorage s, imagestoragelocation l"
        " WHERE s.content_checksum = %s AND l.name = 'usstorage'",
        [digest],
    )
    tasks = Tasks(site.services.database, "usstorage")
    claimed = tasks.claim()
    assert len(claimed) == 1
    assert not over_replication(site).step()
    tasks.finish(claimed)
    assert over_replication(site).step()


def test_all_blobs_can_be_pulled_after_concurrent_mounts_pushes_copies_and_enforcement(
    site: Site, services: Services
) -> None:
    """Blobs are mounted where a repository permits them while their copies there are deleted."""
    push_image_without_layers(site, HOME, b"first")
    push_image_without_layers(site, FREE, b"something else")
    contents = [b"content %d" % number for number in range(16)]
    digests = [Client(site).push_blob(HOME, content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        services.eu.client.put_object(
            Bucket=services.eu.bucket, Key=object_key(digest), Body=content
        )
    place_everything(site, "eustorage")
    exclude(site, HOME, "usstorage")
    done = threading.Event()

    def delete_copies() -> None:
        queue = delete_queue(site, "usstorage")
        while not done.is_set():
            over_replication(site).step()
            queue.turn()

    def add_blobs(number: int) -> None:
        if number % 2:
            assert mount(site, digests[number], HOME, FREE) == 201
        else:
            Client(site).push_blob(FREE, contents[number])

    with ThreadPoolExecutor(5) as executor:
        deleting = executor.submit(delete_copies)
        mounting = [executor.submit(add_blobs, number) for number in range(len(contents))]
        for one in mounting:
            one.result()
        site.copy_all()
        done.set()
        deleting.result()
    assert Reconciler(site.services.database, REQUIRED).everything() == 0
    site.copy_all()
    while delete_queue(site, "usstorage").turn():
        continue
    for digest, content in zip(digests, contents, strict=True):
        assert placements(site, digest) == {"usstorage", "eustorage"}
        answer = Client(site).pull_blob(FREE, digest)
        assert f":{services.us.port}/" in answer.url
        assert answer.content == content

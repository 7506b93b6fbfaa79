"""What is where policies exclude it goes from there, and nothing goes that anybody counts on."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.placement.policies import Policy, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler
from atoll.placement.upkeep.over_replication import OverReplication

from .services import Services, wait_until
from .site import Client, Site
from .test_backfill import push_image
from .test_garbage import delete_queue
from .test_location_removal import copy_everything
from .test_policies import REQUIRED, exclude, policies
from .test_policies import site as site  # noqa: PLC0414 - a fixture
from .test_push_and_pull import sha256
from .test_replication import key, placements

HOME, FREE = "home/app", "free/app"


def excess(site: Site, links: float = 0) -> OverReplication:
    return OverReplication(site.graph.database, REQUIRED, site.graph.placement_cache, links=links)


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
    """A blob that is at us, where its repository excludes it, and not yet at eu."""
    push_image(site, HOME, b"{}")
    exclude(site, HOME, "usstorage")
    return sha256(b"{}")


def test_it_goes_as_soon_as_all_that_must_have_the_blob_do(
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
    copy_everything(site, "eustorage")
    status, found = enforce(site, "--dry-run")
    assert (status, found["usstorage"]["removed_blobs"]) == (1, 1)
    assert placements(site, digest) == {"usstorage", "eustorage"}
    status, found = enforce(site)
    assert (status, found["usstorage"]["removed_blobs"]) == (0, 1)
    assert placements(site, digest) == {"eustorage"}
    shown = json.loads(site.command_here("policy", "show", HOME, "--json")[1])
    assert shown["excess"] == []
    # Whoever was sent to the object before has the time to fetch it.
    assert delete_queue(site, "usstorage").turn() == 0
    assert key(digest) in services.us.objects()
    site.graph.database.run("UPDATE objectdeletion SET available_at = now()")
    assert delete_queue(site, "usstorage").turn() == 1
    assert key(digest) not in services.us.objects()
    assert enforce(site) == (0, {})


def test_pulls_go_on_from_elsewhere_and_a_push_brings_nothing_back(
    site: Site, services: Services, digest: str
) -> None:
    assert Client(site).pull_blob(HOME, digest).content == b"{}"
    services.eu.client.put_object(Bucket=services.eu.bucket, Key=key(digest), Body=b"{}")
    copy_everything(site, "eustorage")
    assert excess(site).step()
    assert delete_queue(site, "usstorage").turn() == 1
    assert Client(site).pull_blob(HOME, digest).content == b"{}"
    Client(site).push_blob(HOME, b"{}")
    assert placements(site, digest) == {"eustorage"}
    assert services.us.objects() == set()


def test_what_another_repository_may_have_there_stays_as_long_as_that_uses_it(
    site: Site, digest: str
) -> None:
    copy_everything(site, "eustorage")
    push_image(site, FREE, b"{}")
    assert enforce(site) == (0, {})
    assert placements(site, digest) == {"usstorage", "eustorage"}
    exclude(site, FREE, "usstorage")
    assert excess(site).step()
    assert placements(site, digest) == {"eustorage"}


def test_it_stays_while_any_location_that_must_have_the_blob_lacks_it(
    site: Site, digest: str
) -> None:
    both = Policy(extra=("asiastorage",), excluded=("usstorage",))
    policies(site).set(Subject.parse(HOME), both)
    copy_everything(site, "eustorage")
    assert not excess(site).step()
    Reconciler(site.graph.database, REQUIRED).everything()
    copy_everything(site, "asiastorage")
    # A copy that is wrong counts for nothing.
    site.graph.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = 'eustorage'"
    )
    assert not excess(site).step()
    site.graph.database.run("UPDATE imagestorageplacement SET state = 'good'")
    assert excess(site).step()
    assert placements(site, digest) == {"eustorage", "asiastorage"}


def test_a_blob_that_is_being_lent_stays_and_is_needed_there_from_then_on(
    site: Site, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount comes between the look at all blobs and the transaction that takes the copy."""
    push_image(site, FREE, b"something else")
    copy_everything(site, "eustorage")
    database, transaction = site.graph.database, site.graph.database.transaction
    statuses = []

    def after_the_mount() -> object:
        monkeypatch.undo()
        statuses.append(mount(site, digest, HOME, FREE))
        return transaction()

    monkeypatch.setattr(database, "transaction", after_the_mount)
    assert not excess(site).step()
    assert statuses == [201]
    assert placements(site, digest) == {"usstorage", "eustorage"}


def test_who_is_about_to_count_on_a_blob_is_not_waited_for(site: Site, digest: str) -> None:
    copy_everything(site, "eustorage")
    with site.graph.database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", [digest])
        assert not excess(site).step()
    assert excess(site).step()


def test_what_was_lent_afterwards_comes_back(site: Site, services: Services, digest: str) -> None:
    push_image(site, FREE, b"something else")
    services.eu.client.put_object(Bucket=services.eu.bucket, Key=key(digest), Body=b"{}")
    copy_everything(site, "eustorage")
    assert excess(site).step()
    assert mount(site, digest, HOME, FREE) == 201
    site.copy_all()
    assert placements(site, digest) == {"usstorage", "eustorage"}
    # The deletion finds that somebody counts on the object again.
    delete_queue(site, "usstorage").turn()
    assert key(digest) in services.us.objects()


def test_a_copy_at_a_location_that_begins_to_drain_does_not_count(site: Site, digest: str) -> None:
    """Copies go because of those at eustorage, whose state is being changed at that moment."""
    copy_everything(site, "eustorage")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as executor:
        with site.graph.database.transaction() as cursor:
            cursor.execute(
                "UPDATE imagestoragelocation SET state = 'draining' WHERE name = 'eustorage'"
            )
            step = executor.submit(excess(site).step)
            wait_until("it waits", lambda: site.graph.database.read(waiting)[0][0])
        assert not step.result()
    assert "usstorage" in placements(site, digest)


def test_a_copy_that_is_being_written_there_waits(site: Site, digest: str) -> None:
    copy_everything(site, "eustorage")
    site.graph.database.run(
        "INSERT INTO replicationtask (storage_id, location_id) SELECT s.id, l.id"
        " FROM imagestorage s, imagestoragelocation l"
        " WHERE s.content_checksum = %s AND l.name = 'usstorage'",
        [digest],
    )
    tasks = Tasks(site.graph.database, "usstorage")
    claimed = tasks.claim()
    assert len(claimed) == 1
    assert not excess(site).step()
    tasks.finish(claimed)
    assert excess(site).step()


def test_mounts_pushes_and_copies_race_with_it_and_every_blob_can_be_pulled(
    site: Site, services: Services
) -> None:
    """Blobs come to a repository that may have them at us while they are taken from there."""
    push_image(site, HOME, b"first")
    push_image(site, FREE, b"something else")
    contents = [b"content %d" % number for number in range(16)]
    digests = [Client(site).push_blob(HOME, content) for content in contents]
    for digest, content in zip(digests, contents, strict=True):
        services.eu.client.put_object(Bucket=services.eu.bucket, Key=key(digest), Body=content)
    copy_everything(site, "eustorage")
    exclude(site, HOME, "usstorage")
    done = threading.Event()

    def take_away() -> None:
        queue = delete_queue(site, "usstorage")
        while not done.is_set():
            excess(site).step()
            queue.turn()

    def come(number: int) -> None:
        if number % 2:
            assert mount(site, digests[number], HOME, FREE) == 201
        else:
            Client(site).push_blob(FREE, contents[number])

    with ThreadPoolExecutor(5) as executor:
        taking = executor.submit(take_away)
        coming = [executor.submit(come, number) for number in range(len(contents))]
        for one in coming:
            one.result()
        site.copy_all()
        done.set()
        taking.result()
    assert Reconciler(site.graph.database, REQUIRED).everything() == 0
    site.copy_all()
    while delete_queue(site, "usstorage").turn():
        continue
    for digest, content in zip(digests, contents, strict=True):
        assert placements(site, digest) == {"usstorage", "eustorage"}
        answer = Client(site).pull_blob(FREE, digest)
        assert f":{services.us.port}/" in answer.url
        assert answer.content == content

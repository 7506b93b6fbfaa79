"""Backfill finds, queues and counts missing copies."""

from __future__ import annotations

import json

from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.backfill import Reconciler, backfill

from .images import push_image_without_layers
from .placements import REQUIRED
from .site import Client, Site


def push_without_tasks(us: Site, *blobs: bytes, repository: str = "admin/app") -> list[str]:
    """Push blobs and delete their tasks, as if eustorage had been added later."""
    digests = [Client(us).push_blob(repository, data) for data in blobs]
    us.services.database.run("DELETE FROM replicationtask")
    return digests


def count_tasks(site: Site) -> int:
    return int(site.services.database.read("SELECT count(*) FROM replicationtask")[0][0])


def test_backfill_queues_missing_copies_and_waits_for_them(us: Site, eu: Site) -> None:
    push_without_tasks(us, b"one", b"two")
    first = us.command("backfill", "--json")
    assert first.returncode == 1, first.stderr
    last_blob = us.services.database.read("SELECT max(id) FROM imagestorage")[0][0]
    assert json.loads(first.stdout) == {
        "complete": False,
        "last": last_blob,
        "locations": {
            "usstorage": {"missing_blobs": 0, "missing_bytes": 0},
            "eustorage": {"missing_blobs": 2, "missing_bytes": 6},
        },
    }
    assert count_tasks(us) == 2
    eu.start_worker()
    last = us.command("backfill", "--wait")
    assert last.returncode == 0, last.stderr
    assert "no copies are missing at usstorage, eustorage" in last.stdout


def test_waiting_can_exclude_blobs_that_are_pushed_later(us: Site) -> None:
    push_without_tasks(us, b"pushed later")
    last = us.services.database.read("SELECT min(id) FROM imagestorage")[0][0] - 1
    assert us.command("backfill", "--until", str(last)).returncode == 0
    assert us.command("backfill").returncode == 1


def test_a_dry_run_queues_nothing(us: Site) -> None:
    push_without_tasks(us, b"one")
    result = us.command("backfill", "--dry-run")
    assert result.returncode == 1
    assert "eustorage lacks 1 blobs (3 bytes): missing" in result.stdout
    assert count_tasks(us) == 0


def test_backfill_can_be_limited_to_a_location_and_a_namespace(us: Site) -> None:
    push_image_without_layers(us, "admin/app", b"{}")
    push_image_without_layers(us, "other/app", b'{"a":1}')
    us.services.database.run("DELETE FROM replicationtask")
    assert us.command("backfill", "--location", "usstorage").returncode == 0
    assert count_tasks(us) == 0
    assert us.command("backfill", "--namespace", "other").returncode == 1
    assert count_tasks(us) == 1
    wrong = us.command("backfill", "--location", "mars")
    assert wrong.returncode == 1
    assert "no blobs are required at 'mars'" in wrong.stderr


def test_a_task_that_waits_for_a_retry_is_retried_at_once(us: Site) -> None:
    Client(us).push_blob("admin/app", b"failed before")
    at_eu = Tasks(us.services.database, "eustorage")
    at_eu.release(at_eu.claim()[0], "the store was away")
    assert at_eu.claim() == []
    us.command("backfill")
    assert len(at_eu.claim()) == 1


def test_a_leased_task_is_not_changed(us: Site) -> None:
    digest = Client(us).push_blob("admin/app", b"being copied")
    at_eu = Tasks(us.services.database, "eustorage")
    claimed = at_eu.claim()
    us.command("backfill")
    assert at_eu.finish(claimed) == {claimed[0].lease_token}
    assert str(claimed[0].digest) == digest


def test_the_number_of_statements_depends_only_on_the_number_of_blobs(us: Site) -> None:
    push_without_tasks(us, *(bytes([number]) for number in range(5)))
    steps = list(backfill(us.services.database, REQUIRED, batch=2))
    assert [step.done for step in steps] == [2, 4, 5]
    assert sum(found.blobs for step in steps for found in step.found) == 5


def test_the_reconciler_checks_one_range_at_a_time_and_then_restarts(us: Site) -> None:
    push_without_tasks(us, b"one", b"two", b"three")
    reconciler = Reconciler(us.services.database, REQUIRED, batch=2)
    assert [reconciler.step() for _ in range(3)] == [2, 1, 0]
    us.services.database.run("DELETE FROM replicationtask")
    assert reconciler.step() == 1
    assert reconciler.everything() == 2


def test_quays_command_reports_each_blob_until_it_is_placed(us: Site) -> None:
    push_without_tasks(us, b"one", b"two")
    uuids = [
        row[0] for row in us.services.database.read("SELECT uuid FROM imagestorage ORDER BY id")
    ]
    expected = [f"Enqueueing manifest blob {uuid} to be replicated" for uuid in uuids]
    for _ in range(2):
        result = us.command(module="util.backfillreplication")
        assert (result.returncode, result.stdout.splitlines()) == (0, expected)
    at_eu = Tasks(us.services.database, "eustorage")
    while claimed := at_eu.claim():
        at_eu.finish(claimed)
    result = us.command(module="util.backfillreplication")
    assert (result.returncode, result.stdout) == (0, "")

"""A copy that takes longer than its lease is made once, by one worker."""

from __future__ import annotations

import os
import threading

import psycopg2.errors
import pytest
from atoll.db.pool import Parameters
from atoll.names import Digest
from atoll.placement import tasks as task_table
from atoll.placement.tasks import Tasks
from atoll.replication import worker as worker_module
from atoll.storage.multipart import PART_MINIMUM

from ..integration.services import wait_until
from .sites import MemoryRegistry, MemorySite
from .worker_faults import Statements

LEASE_SECONDS = 0.6


@pytest.fixture(autouse=True)
def _polls_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.05)


def expired(site: MemorySite, digest: Digest) -> bool:
    return bool(
        site.database.read(
            "SELECT 1 FROM replicationtask t JOIN imagestorage s ON s.id = t.storage_id"
            " JOIN imagestoragelocation l ON l.id = t.location_id"
            " WHERE s.content_checksum = %s AND l.name = 'eu'"
            " AND t.lease_expires < clock_timestamp() - interval '1 second'",
            [str(digest)],
        )
    )


@pytest.mark.parametrize("renewals_fail", [False, True])
def test_a_copy_longer_than_its_lease_is_made_once(
    registry: MemoryRegistry, renewals_fail: bool
) -> None:
    us, eu = registry["us"], registry["eu"]
    target = registry.stores["eu"]
    over, failing = threading.Event(), threading.Event()
    if renewals_fail:
        failing.set()

    def slow(operation: str, _key: str) -> None:
        if operation == "put_part":
            over.wait()

    def fault(sql: str, _parameters: Parameters) -> None:
        if sql == task_table.TABLE.extend and failing.is_set():
            raise psycopg2.errors.DiskFull("injected")

    target.fault = slow
    statements = Statements(eu.database, fault)
    digest = us.push(os.urandom(PART_MINIMUM + 1))
    worker = eu.worker(lease_seconds=LEASE_SECONDS)
    worker.start()
    try:
        # The worker copies other blobs meanwhile.
        small = [us.push(b"small %d" % number) for number in range(40)]
        wait_until("the small ones are copied", lambda: all(eu.has_object("eu", d) for d in small))
        if renewals_fail:
            wait_until("the lease has expired", lambda: expired(eu, digest))
            claims = statements.sent[task_table._CLAIM]
            wait_until("it is not claimed", lambda: statements.sent[task_table._CLAIM] > claims + 5)
            failing.clear()
        else:
            renewals = statements.sent[task_table.TABLE.extend]
            # Leases are renewed three times per period.
            wait_until(
                "many leases have passed",
                lambda: statements.sent[task_table.TABLE.extend] > renewals + 9,
            )
        over.set()
        wait_until("it is placed", lambda: eu.placements(digest).get("eu") == "good")
        assert worker.alive
    finally:
        over.set()
        worker.stop()
    assert target.requests["begin_parts"] == target.requests["finish_parts"] == 1
    assert target.requests["put"] == len(small)
    assert not eu.database.read(
        "SELECT 1 FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
        " WHERE l.name = 'eu'"
    )


def test_a_held_task_is_not_claimed_again_by_its_holder(registry: MemoryRegistry) -> None:
    registry["us"].push(b"blob")
    tasks = Tasks(registry["eu"].database, "eu")
    held = tasks.claim()
    registry["us"].database.run("UPDATE replicationtask SET lease_expires = clock_timestamp()")
    assert tasks.claim(held=[task.id for task in held]) == []
    # No other worker claimed it, so the lease can be renewed.
    assert tasks.extend(held) == {held[0].lease_token}
    assert tasks.claim() == []
    registry["us"].database.run("UPDATE replicationtask SET lease_expires = clock_timestamp()")
    (other,) = tasks.claim()
    assert tasks.extend(held) == set()
    assert tasks.finish([other]) == {other.lease_token}


def test_a_task_that_is_being_finished_is_not_reported_as_lost(
    registry: MemoryRegistry,
) -> None:
    registry["us"].push(b"blob")
    tasks = Tasks(registry["eu"].database, "eu")
    held = tasks.claim()
    with registry["us"].database.transaction() as cursor:
        cursor.execute("DELETE FROM replicationtask WHERE id = %s", [held[0].id])
        assert tasks.extend(held) == {held[0].lease_token}

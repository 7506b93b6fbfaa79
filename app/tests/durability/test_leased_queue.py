"""The protocol of all leased queues: claims, leases and backoff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, unleased
from atoll.db.pool import Database

from .sites import MemoryRegistry

TABLE = LeasedTable("job")
CLAIM = f"""
WITH next AS (
    SELECT j.id FROM job j WHERE j.available_at <= clock_timestamp() AND {unleased("j")}
    ORDER BY j.id LIMIT 1 FOR UPDATE SKIP LOCKED
), {TABLE.claimed}
SELECT id, lease_token, attempts FROM claimed
"""


@dataclass(frozen=True)
class Job:
    id: int
    lease_token: UUID
    attempts: int


@pytest.fixture
def database(registry: MemoryRegistry) -> Database:
    database = registry["us"].database
    database.run("""
        CREATE TABLE job (
            id bigint PRIMARY KEY, lease_token uuid, lease_expires timestamptz,
            attempts integer NOT NULL DEFAULT 0, last_error text,
            available_at timestamptz NOT NULL DEFAULT now());
        INSERT INTO job (id) VALUES (1), (2)
    """)
    return database


def queue_of(database: Database, backoff: Backoff | None = None) -> LeasedQueue:
    return LeasedQueue(
        database, TABLE, lease_seconds=60, backoff=backoff or Backoff(first=60, maximum=60)
    )


def claim(queue: LeasedQueue) -> Job | None:
    rows = queue.claim(CLAIM, {})
    return Job(*rows[0]) if rows else None


def expire_leases(database: Database) -> None:
    database.run("UPDATE job SET lease_expires = clock_timestamp()")


def test_a_leased_row_is_not_claimed_again_until_the_lease_expires(database: Database) -> None:
    queue = queue_of(database)
    claimed = [claim(queue) for _ in range(3)]
    assert [job and job.id for job in claimed] == [1, 2, None]
    expire_leases(database)
    again = claim(queue)
    assert again is not None
    assert (again.id, again.attempts) == (1, 2)


def test_no_write_succeeds_after_the_lease_is_lost(database: Database) -> None:
    queue = queue_of(database)
    late = claim(queue)
    expire_leases(database)
    holder = claim(queue)
    assert late is not None
    assert holder is not None
    assert queue.extend([late, holder]) == {holder.lease_token}
    assert queue.finish(late, f"{TABLE.delete} RETURNING id") == []
    queue.release(late, "late")
    queue.give_back([late])
    assert database.read("SELECT lease_token, last_error, attempts FROM job WHERE id = 1") == [
        [holder.lease_token, None, 2]
    ]
    assert queue.finish(holder, f"{TABLE.delete} RETURNING id") == [[1]]


def test_an_expired_lease_is_held_until_the_row_is_claimed(database: Database) -> None:
    queue = queue_of(database)
    job = claim(queue)
    expire_leases(database)
    assert job is not None
    assert queue.extend([job]) == {job.lease_token}
    assert claim(queue) != job


def test_a_released_row_waits_for_the_backoff_and_keeps_the_error(database: Database) -> None:
    queue = queue_of(database)
    job = claim(queue)
    assert job is not None
    queue.release(job, "no\0answer")
    assert database.read(
        "SELECT last_error, attempts, lease_token IS NULL,"
        " available_at > clock_timestamp() + interval '30 seconds' FROM job WHERE id = 1"
    ) == [["noanswer", 1, True, True]]
    following = claim(queue)
    assert following is not None
    assert following.id == 2


def test_a_row_given_back_can_be_claimed_immediately_and_counts_no_attempt(
    database: Database,
) -> None:
    queue = queue_of(database)
    job = claim(queue)
    assert job is not None
    queue.give_back([job])
    again = claim(queue)
    assert again is not None
    assert again == replace(job, lease_token=again.lease_token)


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 2), (1, 2), (2, 4), (5, 32), (10**6, 900)])
def test_backoff_doubles_up_to_its_maximum(attempts: int, seconds: float) -> None:
    assert Backoff(first=2, maximum=900).seconds(attempts) == seconds

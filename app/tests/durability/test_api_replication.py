"""The API reports pending copies and failing tasks, queues missing copies and retries failures."""

from __future__ import annotations

from typing import Any

import pytest
from atoll.auth import users
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.bounded_backfill import BoundedBackfill
from atoll.placement.upkeep.failing_tasks import FailingTasks, Retried

from .api_client import PASSWORD, ApiClient
from .sites import SUPERUSER, MemorySite

PATH = "superuser/replication"
CONTENTS = (b"1", b"22", b"333")
DUE = "SELECT count(*) FROM replicationtask WHERE available_at <= clock_timestamp()"
TASKS = "SELECT count(*) FROM replicationtask"


@pytest.fixture
def pushed(site: MemorySite) -> MemorySite:
    """A site whose three blobs are pending at eu and ap."""
    for content in CONTENTS:
        site.push(content)
    return site


@pytest.fixture
def failing(pushed: MemorySite) -> MemorySite:
    """A site whose copies to eu have failed, and wait for their next attempt."""
    tasks = Tasks(pushed.database, "eu")
    for task in tasks.claim(limit=3):
        tasks.release(task, "the store is full")
    return pushed


def number(site: MemorySite, query: str) -> int:
    return int(site.database.read(query)[0][0])


def location(site: MemorySite, name: str) -> dict[str, Any]:
    (found,) = ApiClient(site).call("GET", PATH, query={"location": name})["locations"]
    assert found["location"] == name
    return dict(found)


def test_each_location_has_its_pending_copies_rate_and_remaining_time(failing: MemorySite) -> None:
    database = failing.database
    database.run("UPDATE replicationtask SET urgent = true WHERE image_size = 1")
    for seconds, size in ((100, 26), (0, 6)):
        database.run(
            "INSERT INTO lagsample SELECT id, now() - make_interval(secs => %s), 4, %s, 0"
            " FROM imagestoragelocation WHERE name = 'eu'",
            [seconds, size],
        )
    eu, ap, us = (location(failing, name) for name in ("eu", "ap", "us"))
    assert (eu["pending_blobs"], eu["pending_bytes"], eu["urgent_blobs"]) == (3, 6, 1)
    assert (eu["failing_blobs"], eu["last_error"]) == (3, "the store is full")
    assert eu["bytes_per_second"] == pytest.approx(0.2, rel=0.01)
    assert eu["blobs_per_second"] == 0
    assert eu["eta_seconds"] == pytest.approx(30, rel=0.01)
    assert (ap["pending_blobs"], ap["failing_blobs"]) == (3, 0)
    assert (ap["bytes_per_second"], ap["eta_seconds"]) == (None, None)
    assert (us["pending_blobs"], us["eta_seconds"], us["objects_to_delete"]) == (0, 0, 0)


def test_failing_tasks_are_listed_in_pages_with_reason_and_next_attempt(
    failing: MemorySite,
) -> None:
    policies = Policies(failing.database, ["us", "eu", "ap"])
    policies.set(Subject(SUPERUSER), Policy(urgent=True))
    client = ApiClient(failing)
    first = client.call("GET", PATH, query={"limit": 2})
    second = client.call("GET", PATH, query={"limit": 2, "next_page": first["next_page"]})
    assert "next_page" not in second
    listed = first["failing"] + second["failing"]
    assert [(one["location"], one["bytes"]) for one in listed] == [("eu", 1), ("eu", 2), ("eu", 3)]
    assert {(one["attempts"], one["last_error"]) for one in listed} == {(1, "the store is full")}
    assert all(one["next_attempt_at"].endswith("+00:00") for one in listed)
    assert first["policies"] == {"namespaces": 1, "repositories": 0}
    assert client.call("GET", PATH, query={"location": "ap"})["failing"] == []
    client.call("GET", PATH, query={"location": "none"}, status=404)
    client.call("GET", PATH, query={"limit": 501}, status=400)


def test_a_task_has_no_next_attempt_while_it_is_attempted(failing: MemorySite) -> None:
    failing.database.run("UPDATE replicationtask SET available_at = now()")
    Tasks(failing.database, "eu").claim()
    tasks = FailingTasks(failing.database).first(10)
    assert [one.next_attempt_at is None for one in tasks] == [True, False, False]
    assert FailingTasks(failing.database).retry() == Retried(0, None)


def test_a_retry_makes_failing_tasks_due(failing: MemorySite) -> None:
    client = ApiClient(failing)
    assert client.call("POST", f"{PATH}/retry", {"location": "ap"}) == {"retried": 0}
    assert number(failing, DUE) == 3
    assert client.call("POST", f"{PATH}/retry", {"location": "eu"}) == {"retried": 3}
    assert number(failing, DUE) == 6
    client.call("POST", f"{PATH}/retry", {"location": "none"}, status=404)
    logged = client.call("GET", "superuser/logs")["logs"]
    entries = [one["metadata"] for one in logged if one["kind"] == "retry_replication"]
    assert [(one["location"], one["tasks"]) for one in entries] == [("eu", 3), ("ap", 0)]


def test_a_retry_examines_a_bounded_number_of_tasks(failing: MemorySite) -> None:
    tasks = FailingTasks(failing.database, maximum=2)
    first = tasks.retry()
    assert (first.tasks, first.more is not None) == (2, True)
    assert tasks.retry(after=first.more or 0) == Retried(1, None)


def test_a_backfill_queues_nothing_unless_the_dry_run_is_declined(pushed: MemorySite) -> None:
    pushed.database.run("DELETE FROM replicationtask")
    client = ApiClient(pushed)
    expected = [
        {"location": "us", "missing_blobs": 0, "missing_bytes": 0},
        {"location": "eu", "missing_blobs": 3, "missing_bytes": 6},
        {"location": "ap", "missing_blobs": 3, "missing_bytes": 6},
    ]
    dry = client.call("POST", f"{PATH}/backfill", {})
    assert (dry["dry_run"], dry["locations"], "next_page" in dry) == (True, expected, False)
    assert number(pushed, TASKS) == 0
    body = {"dry_run": False, "locations": ["eu"]}
    queued = client.call("POST", f"{PATH}/backfill", body)
    assert (queued["dry_run"], queued["locations"]) == (False, [expected[1]])
    assert number(pushed, TASKS) == 3
    logged = client.call("GET", "superuser/logs")["logs"]
    (entry,) = [one["metadata"] for one in logged if one["kind"] == "backfill_replication"]
    assert (entry["locations"], entry["blobs"]) == (["eu"], 3)


def test_a_backfill_of_a_location_without_required_blobs_is_refused(site: MemorySite) -> None:
    body = {"locations": ["none"]}
    refused = ApiClient(site).call("POST", f"{PATH}/backfill", body, status=400)
    assert "no blobs are required at 'none'; the required locations are: us" in refused["detail"]


def test_a_long_backfill_is_continued_where_the_last_portion_ended(pushed: MemorySite) -> None:
    pushed.database.run("DELETE FROM replicationtask")
    backfill = BoundedBackfill(pushed.database, ["us", "eu"], seconds=0, batch=2)
    first = backfill.portion(["eu"], queue=True)
    assert ([one.blobs for one in first.missing], first.finished) == ([2], False)
    assert number(pushed, TASKS) == 2
    second = backfill.portion(["eu"], after=first.done, queue=True)
    assert ([one.blobs for one in second.missing], second.finished) == ([1], True)
    assert number(pushed, TASKS) == 3
    assert backfill.portion(["eu"], after=10**9).finished


def test_only_superusers_see_and_change_replication(site: MemorySite) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    for name, status in ((None, 401), ("bob", 403)):
        client = ApiClient(site, name)
        client.call("GET", PATH, status=status)
        for action in ("backfill", "retry"):
            client.call("POST", f"{PATH}/{action}", {}, status=status)

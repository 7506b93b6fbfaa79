"""The life cycle of runs of mirrors, with several workers, crashes and cancellations."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import Mock

import pytest
from atoll.auth.robot_rule import RobotRule
from atoll.db.leased_queue import LeaseLost
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.mirrors import Mirrors
from atoll.mirroring.outcome import LOST_COPIES_MAXIMUM, LOST_PLANS_MAXIMUM, failed
from atoll.mirroring.runs import tasks as tasks_module
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.failures import RunRefused
from atoll.mirroring.runs.planner import Planner
from atoll.mirroring.runs.plans import Plan
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import Task, Tasks
from atoll.mirroring.runs.worker import MirrorWorker
from atoll.names import RepositoryName
from atoll.periodic import ThreadRegistry
from atoll.upstream.client import UpstreamClient
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .mirror_runs import SWITCHED, MirrorRuns, RecordedSwitch
from .mirrored import last_run, make_mirror, mirrors
from .sites import SUPERUSER, MemoryRegistry, MemorySite

ONE = RepositoryName(SUPERUSER, "one")
TWO = RepositoryName(SUPERUSER, "two")


@pytest.fixture
def site(registry: MemoryRegistry) -> Iterator[MemorySite]:
    """A site whose switched tags are recorded."""
    registry["us"].database.run(SWITCHED)
    return registry["us"]


@pytest.fixture
def runs(site: MemorySite) -> Runs:
    return Runs(site.database, site.graph.cipher, RecordedSwitch(), site="us", instance="worker")


@pytest.fixture
def tasks(site: MemorySite) -> Tasks:
    return Tasks(site.database, RecordedSwitch())


def claimed_run(runs: Runs) -> RunClaim:
    claimed = runs.claims.claim(None, [])
    assert claimed is not None
    return claimed[1]


def claimed_task(tasks: Tasks, after: int | None = None) -> Task:
    claimed = tasks.claim(after, [])
    assert claimed is not None
    return claimed[1]


def planned(runs: Runs, tags: int) -> int:
    """Plan the run that is due, with a number of changed tags; return the run."""
    claim = claimed_run(runs)
    selected = {f"tag{number:04}": f"digest {number}" for number in range(tags)}
    runs.plans.record(claim, Plan(selected))
    return claim.run_id


def status(site: MemorySite, name: RepositoryName = ONE) -> str:
    return mirrors(site).find(name).status


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.long)])
def test_any_sequence_of_workers_crashes_and_cancels_ends_in_a_state_of_the_table(
    site: MemorySite, examples: int
) -> None:
    MirrorRuns.site = site
    MirrorRuns.outcomes = set()
    run_state_machine_as_test(
        MirrorRuns,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert "SUCCESS" in {outcome for outcome, _ in MirrorRuns.outcomes}


def test_two_workers_that_finish_the_last_two_tags_end_the_run_once(
    site: MemorySite, runs: Runs, tasks: Tasks
) -> None:
    for number in range(10):
        name = make_mirror(site, RepositoryName(SUPERUSER, f"app{number}"))
        run = planned(runs, 2)
        ended: list[object] = []
        barrier = threading.Barrier(2)

        def work(
            task: Task,
            run: int = run,
            ended: list[object] = ended,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait()
            tasks.complete(task, {}, together=False)
            ended.append(runs.endings.finish(run))

        threads = [threading.Thread(target=work, args=(claimed_task(tasks),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([one for one in ended if one is not None]) == 1
        found = last_run(site, name)
        assert (found.outcome, found.tags_copied) == ("SUCCESS", 2)


def test_runs_take_turns(site: MemorySite, runs: Runs, tasks: Tasks) -> None:
    make_mirror(site, ONE)
    large = planned(runs, 1000)
    make_mirror(site, TWO)
    small = planned(runs, 3)
    order, last = [], None
    for _ in range(6):
        task = tasks.claim(last, []) or tasks.claim(None, [])
        assert task is not None
        last = task[0]
        order.append(last)
    assert order == [large, small] * 3


def test_a_pause_of_the_upstream_postpones_all_tags_and_loses_no_attempt(
    site: MemorySite, runs: Runs, tasks: Tasks
) -> None:
    make_mirror(site, ONE)
    planned(runs, 20)
    tasks.postpone(claimed_task(tasks), 20, "too many requests")
    assert tasks.claim(None, []) is None
    assert site.database.read("SELECT sum(attempts), sum(failures) FROM mirrortask") == [[0, 0]]
    found = mirrors(site).find(ONE)
    assert found.status == "SYNCING"
    assert found.waiting_until is not None


def test_a_tag_is_retried_three_times(site: MemorySite, runs: Runs, tasks: Tasks) -> None:
    make_mirror(site, ONE)
    run = planned(runs, 1)
    pauses = []
    for _ in range(3):
        assert not tasks.fail(claimed_task(tasks), "truncated", "short", is_temporary=True)
        rows = site.database.read(
            "SELECT extract(epoch FROM available_at - now()) / 60 FROM mirrortask"
        )
        pauses.append(float(rows[0][0]))
        site.database.run("UPDATE mirrortask SET available_at = now()")
    assert pauses == pytest.approx([1, 5, 15], rel=0.25)
    assert tasks.fail(claimed_task(tasks), "truncated", "short", is_temporary=True)
    finished = runs.endings.finish(run)
    assert finished is not None
    assert (finished.outcome.status, finished.outcome.reason) == ("FAIL", "truncated")


def test_a_crash_is_not_a_failure_of_the_tag(site: MemorySite, runs: Runs, tasks: Tasks) -> None:
    make_mirror(site, ONE)
    planned(runs, 1)
    for _ in range(LOST_COPIES_MAXIMUM - 1):
        task = claimed_task(tasks)
        site.database.run("UPDATE mirrortask SET lease_expires = now()")
    assert not tasks.fail(task, "truncated", "short", is_temporary=True)


def test_a_tag_whose_processes_always_die_fails_in_the_end(
    site: MemorySite, runs: Runs, tasks: Tasks
) -> None:
    name = make_mirror(site, ONE)
    planned(runs, 1)
    # A pause of the upstream, work that is given back, and a failure do not count.
    tasks.postpone(claimed_task(tasks), 0, "wait")
    tasks.give_back([claimed_task(tasks)])
    assert not tasks.fail(claimed_task(tasks), "truncated", "short", is_temporary=True)
    site.database.run("UPDATE mirrortask SET available_at = now()")
    lost = []
    for _ in range(LOST_COPIES_MAXIMUM):
        lost.append(claimed_task(tasks).lost_claims)
        site.database.run("UPDATE mirrortask SET lease_expires = now()")
    assert lost == list(range(LOST_COPIES_MAXIMUM))
    connect = Mock()
    nothing = cast("Any", None)
    worker = MirrorWorker(
        runs, tasks, nothing, nothing, connect=connect, registry=ThreadRegistry(), copies=1
    )
    assert worker.copy_next()
    assert connect.mock_calls == []
    assert status(site) == "FAIL"
    run = last_run(site, name)
    assert (run.reason, run.tags_failed) == ("copy_interrupted", 1)


def test_a_claim_reads_few_rows_regardless_of_postponed_tags(
    site: MemorySite, runs: Runs, tasks: Tasks
) -> None:
    make_mirror(site, ONE)
    planned(runs, 5000)
    tasks.postpone(claimed_task(tasks), 3600, "too many requests")
    make_mirror(site, TWO)
    planned(runs, 1)
    site.database.run("ANALYZE mirrortask; ANALYZE repomirrorconfig")
    with site.database.transaction() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {tasks_module._CLAIM}",
            {"after": 0, "busy": [], "seconds": 60},
        )
        plan = cast("Any", cursor.fetchone())[0][0]["Plan"]
    assert plan["Actual Rows"] == 1
    assert rows_read(plan, "mirrortask") < 10


def rows_read(plan: Mapping[str, Any], table: str) -> float:
    """Return the number of rows of a table that a statement read, by its plan."""
    found = sum(rows_read(one, table) for one in plan.get("Plans", ()))
    if plan.get("Relation Name") == table:
        found += plan["Actual Rows"] * plan["Actual Loops"] + plan.get("Rows Removed by Filter", 0)
    return float(found)


def test_a_run_whose_planners_die_is_refused_after_five_of_them(
    site: MemorySite, runs: Runs
) -> None:
    make_mirror(site, ONE)
    planner = Planner(Presence(site.database), RobotRule.from_bundle(site.graph.bundle))
    # A pause of the upstream, and work that is given back, do not count.
    runs.claims.postpone(claimed_run(runs), 0, "wait")
    runs.claims.give_back([claimed_run(runs)])
    lost = []
    for _ in range(LOST_PLANS_MAXIMUM):
        lost.append(claimed_run(runs).row["lost_claims"])
        site.database.run("UPDATE repomirrorconfig SET lease_expires = now()")
    assert lost == [0, 1, 2, 3, 4]
    claim = claimed_run(runs)
    source = Mock(spec=UpstreamClient)
    with pytest.raises(RunRefused) as refused:
        planner.plan(claim, runs.settings.of(claim.row), source, lambda: None)
    assert source.mock_calls == []
    assert refused.value.outcome.reason == "plan_interrupted"
    runs.endings.fail(claim, refused.value.outcome)
    mirror = mirrors(site).find(ONE)
    assert (mirror.status, mirror.row["reason"]) == ("FAIL", "plan_interrupted")
    # The next run is planned.
    mirrors(site).request_sync(ONE)
    assert claimed_run(runs).row["lost_claims"] == 0


def test_a_run_that_cannot_be_planned_is_retried_three_times_before_its_next_date(
    site: MemorySite, runs: Runs
) -> None:
    make_mirror(site, ONE)
    causes, pauses = [], []
    for _ in range(4):
        claim = claimed_run(runs)
        causes.append(claim.cause)
        runs.endings.fail(claim, failed("network_timeout", "no response", is_temporary=True))
        rows = site.database.read(
            "SELECT extract(epoch FROM next_at - now()) / 60, retries_remaining"
            " FROM repomirrorconfig"
        )
        pauses.append(float(rows[0][0]))
        site.database.run("UPDATE repomirrorconfig SET next_at = now()")
    assert causes == ["schedule", "retry", "retry", "retry"]
    assert pauses[:3] == pytest.approx([1, 5, 15], rel=0.25)
    # The schedule has a date each hour.
    assert pauses[3] <= 60
    assert claimed_run(runs).cause == "schedule"


def test_a_cancelled_run_ends_without_its_workers_and_keeps_the_schedule(
    site: MemorySite, runs: Runs, tasks: Tasks
) -> None:
    make_mirror(site, ONE)
    run = planned(runs, 3)
    task = claimed_task(tasks)
    mirrors(site).request_cancel(ONE)
    assert tasks.held([task]) == set()
    assert tasks.claim(None, []) is None
    assert runs.endings.to_finish() == [run]
    assert runs.endings.finish(run) is not None
    assert status(site) == "CANCEL"
    assert mirrors(site).find(ONE).row["next_at"] is not None
    with pytest.raises(LeaseLost):
        tasks.complete(task, {}, together=False)
    assert site.database.read("SELECT count(*) FROM switched") == [[0]]


def test_a_cancelled_plan_writes_nothing(site: MemorySite, runs: Runs) -> None:
    make_mirror(site, ONE)
    claim = claimed_run(runs)
    mirrors(site).request_cancel(ONE)
    with pytest.raises(LeaseLost):
        runs.plans.record(claim, Plan({"latest": "digest"}))
    assert runs.claims.claim(None, []) is None
    assert runs.endings.finish(claim.run_id) is not None
    assert status(site) == "CANCEL"


@pytest.mark.parametrize("state", ["NORMAL", "READ_ONLY"])
def test_a_mirror_runs_in_the_state_mirror_only(site: MemorySite, runs: Runs, state: str) -> None:
    make_mirror(site, ONE)
    site.database.run("UPDATE repository SET state = %s", [state])
    assert runs.claims.claim(None, []) is None


@pytest.mark.parametrize(("begin", "end"), [(2, 3), (-3, -2), (2, -2)])
def test_a_scheduled_run_begins_within_its_hours_only(
    site: MemorySite, runs: Runs, begin: int, end: int
) -> None:
    now = datetime.now(UTC)
    hours = "-".join(f"{now + timedelta(hours=hour):%H:%M}" for hour in (begin, end))
    make_mirror(site, ONE, {"options": {"hours": hours}})
    assert mirrors(site).find(ONE).row["next_at"] > now
    site.database.run("UPDATE repomirrorconfig SET next_at = now()")
    assert runs.claims.claim(None, []) is None
    mirrors(site).request_sync(ONE)
    assert claimed_run(runs).cause == "request"


def test_a_disabled_mirror_runs_on_request_only(site: MemorySite, runs: Runs) -> None:
    make_mirror(site, ONE, {"is_enabled": False})
    assert runs.claims.claim(None, []) is None
    found: Mirrors = mirrors(site)
    found.request_sync(ONE)
    assert claimed_run(runs).cause == "request"


def test_an_unchanged_run_ends_with_its_plan(site: MemorySite, runs: Runs) -> None:
    make_mirror(site, ONE)
    claim = claimed_run(runs)
    selected = {f"tag{number}": f"digest {number}" for number in range(1000)}
    finished = runs.plans.record(claim, Plan(selected, frozenset(selected)))
    assert finished is not None
    found = mirrors(site).find(ONE)
    assert found.status == "SUCCESS"
    run = last_run(site, found.repository)
    assert (run.tags_total, run.tags_unchanged) == (1000, 1000)
    assert found.row["next_at"] > claim.now
    assert runs.claims.claim(None, []) is None


def test_an_unchanged_run_writes_no_tag_that_was_seen_within_the_hour(
    site: MemorySite, runs: Runs
) -> None:
    make_mirror(site, ONE)
    versions = "SELECT tag, xmin::text, upstream_digest FROM mirrortag ORDER BY tag"

    def run(changed: str) -> list[tuple[str, ...]]:
        mirrors(site).request_sync(ONE)
        digests = {"changed": changed, "old": "digest", "same": "digest"}
        runs.plans.record(claimed_run(runs), Plan(digests, frozenset(digests)))
        return [tuple(row) for row in site.database.read(versions)]

    first = run("digest")
    site.database.run(
        "UPDATE mirrortag SET checked_at = checked_at - interval '61 minutes' WHERE tag = 'old'"
    )
    second = run("other")
    assert [row[0] for row in second if row not in first] == ["changed", "old"]
    assert second[0][2] == "other"
    assert run("other") == second

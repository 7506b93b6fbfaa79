"""A state machine: workers plan runs and copy tags, crash, and continue with lost leases.

Users request and cancel runs meanwhile. The switch of tags is recorded in a table, in the same
transaction, so that a tag that was switched twice is found.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import psycopg2.extensions
from atoll.db.leased_queue import LeaseLost
from atoll.mirroring.copying.tag_switch import ManifestsMissing
from atoll.mirroring.errors import MirrorUnknown
from atoll.mirroring.mirror_records import CANCEL, FAIL, NEVER_RUN, SUCCESS, SYNC_NOW, SYNCING
from atoll.mirroring.mirrors import Mirrors
from atoll.mirroring.outcome import failed
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.plans import Plan
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import Task, Tasks
from atoll.names import RepositoryName
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .mirrored import make_mirror, mirrors
from .sites import SUPERUSER, MemorySite

WORKERS = 3
TAGS = ("one", "two", "three", "four")

SWITCHED = "CREATE TABLE switched (repository_id bigint, tag text, digest text)"

_STATES = """
SELECT m.id, m.sync_status, m.run_id, m.requested_at, m.cancel_requested_at, m.is_planned,
    m.lease_token, m.retries_remaining,
    (SELECT count(*) FROM mirrorrun r
     WHERE r.mirror_id = m.id AND r.outcome IS NULL AND r.id IS DISTINCT FROM m.run_id) AS lost,
    (SELECT count(*) FROM mirrortask t JOIN mirrorrun r ON r.id = t.run_id
     WHERE r.mirror_id = m.id AND r.id IS DISTINCT FROM m.run_id) AS left_over
FROM repomirrorconfig m WHERE m.repository_id = ANY(%s)
"""
_RUNS = """
SELECT r.*, m.options ->> 'rollback' AS rollback,
    (SELECT count(*) FROM switched s WHERE s.digest LIKE 'run ' || r.id || ' %%') AS switched
FROM mirrorrun r JOIN repomirrorconfig m ON m.id = r.mirror_id
WHERE m.repository_id = ANY(%s) AND r.outcome IS NOT NULL
"""

workers = st.integers(min_value=0, max_value=WORKERS - 1)
repositories = st.integers(min_value=0, max_value=1)
tag_sets = st.frozensets(st.sampled_from(TAGS))


class RecordedSwitch:
    """Records switched tags; fails as often as it was told that manifests are missing."""

    def __init__(self) -> None:
        self.missing = 0

    def switch_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, str],
        robot: str,
    ) -> list[str]:
        del robot
        if self.missing:
            self.missing -= 1
            raise ManifestsMissing(sorted(tags)[:1])
        for tag, digest in tags.items():
            cursor.execute("INSERT INTO switched VALUES (%s, %s, %s)", [name.id, tag, digest])
        return list(tags)

    def end_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, int],
        robot: str,
    ) -> list[str]:
        raise AssertionError(f"tags of {name} were ended: {cursor} {tags} {robot}")


class MirrorRuns(RuleBasedStateMachine):
    """Any sequence of these rules. The test sets `site`."""

    site: ClassVar[MemorySite]
    examples: ClassVar[itertools.count[int]] = itertools.count()
    # Outcomes that occurred, which proves that the rules exercise them.
    outcomes: ClassVar[set[tuple[str, str | None]]] = set()

    @initialize()
    def begin(self) -> None:
        example = next(self.examples)
        self.database = self.site.database
        self.switch = RecordedSwitch()
        self.names = [
            make_mirror(
                self.site,
                RepositoryName(SUPERUSER, f"app{example}-{number}"),
                {"sync_interval": 0, "options": {"rollback": bool(number)}},
            )
            for number in range(2)
        ]
        self.mirrors: Mirrors = mirrors(self.site)
        self.runs = [self._runs(number) for number in range(WORKERS)]
        self.tasks = [Tasks(self.database, self.switch) for _ in range(WORKERS)]
        self.plans: list[list[RunClaim]] = [[] for _ in range(WORKERS)]
        self.held: list[list[Task]] = [[] for _ in range(WORKERS)]

    def _runs(self, number: int) -> Runs:
        return Runs(
            self.database,
            self.site.graph.cipher,
            self.switch,
            site="us",
            instance=f"worker {number}",
        )

    def _ids(self) -> list[list[int | None]]:
        return [[name.id for name in self.names]]

    @rule(number=repositories)
    def sync_now(self, number: int) -> None:
        with suppress(MirrorUnknown):
            self.mirrors.request_sync(self.names[number])

    @rule(number=repositories)
    def cancel(self, number: int) -> None:
        with suppress(MirrorUnknown):
            self.mirrors.request_cancel(self.names[number])

    @rule(number=repositories)
    def become_due(self, number: int) -> None:
        self.database.run(
            "UPDATE repomirrorconfig SET next_at = now() WHERE repository_id = %s",
            [self.names[number].id],
        )

    @rule()
    def wait(self) -> None:
        """Let all pauses end."""
        self.database.run(
            "UPDATE repomirrorconfig SET available_at = now() WHERE repository_id = ANY(%s)",
            self._ids(),
        )
        self.database.run("UPDATE mirrortask SET available_at = now()")

    @rule(worker=workers)
    def lose_leases(self, worker: int) -> None:
        """Let a worker be silent for longer than its leases, whether it died or not."""
        tokens = [one.lease_token for one in (*self.plans[worker], *self.held[worker])]
        for table in ("repomirrorconfig", "mirrortask"):
            self.database.run(
                f"UPDATE {table} SET lease_expires = now() WHERE lease_token = ANY(%s::uuid[])",
                [tokens],
            )

    @rule(worker=workers)
    def stop(self, worker: int) -> None:
        """Give leases back, as on SIGTERM."""
        self.runs[worker].claims.give_back(self.plans[worker])
        self.tasks[worker].give_back(self.held[worker])
        self.plans[worker].clear()
        self.held[worker].clear()

    @rule(worker=workers)
    def claim_run(self, worker: int) -> None:
        if claimed := self.runs[worker].claims.claim(None, []):
            self.plans[worker].append(claimed[1])

    @rule(worker=workers, tags=tag_sets, unchanged=tag_sets)
    def plan(self, worker: int, tags: frozenset[str], unchanged: frozenset[str]) -> None:
        if not self.plans[worker]:
            return
        claim = self.plans[worker].pop()
        selected = {tag: f"run {claim.run_id} {tag}" for tag in tags}
        with suppress(LeaseLost):
            self.runs[worker].plans.record(claim, Plan(selected, unchanged & tags))

    @rule(worker=workers, temporary=st.booleans())
    def fail_plan(self, worker: int, temporary: bool) -> None:
        if not self.plans[worker]:
            return
        claim = self.plans[worker].pop()
        outcome = failed("network_timeout", "no response", is_temporary=temporary)
        with suppress(LeaseLost):
            self.runs[worker].endings.fail(claim, outcome)

    @rule(worker=workers)
    def postpone_plan(self, worker: int) -> None:
        if self.plans[worker]:
            with suppress(LeaseLost):
                self.runs[worker].claims.postpone(self.plans[worker].pop(), 60, "paused")

    @rule(worker=workers)
    def claim_task(self, worker: int) -> None:
        if claimed := self.tasks[worker].claim(None, []):
            self.held[worker].append(claimed[1])

    @rule(worker=workers)
    def copy(self, worker: int) -> None:
        if self.held[worker]:
            self._copy(worker, self.held[worker].pop(0))

    def _copy(self, worker: int, task: Task) -> None:
        rollback = self.runs[worker].settings.changes_together(
            self.runs[worker].settings.of(task.row)
        )
        with suppress(LeaseLost):
            try:
                self.tasks[worker].complete(task, {}, together=rollback, bytes_copied=10)
            except ManifestsMissing:
                self.tasks[worker].fail(task, "content_collected", "", is_temporary=True)

    @rule(worker=workers, temporary=st.booleans())
    def fail_task(self, worker: int, temporary: bool) -> None:
        if self.held[worker]:
            with suppress(LeaseLost):
                self.tasks[worker].fail(
                    self.held[worker].pop(0), "blob_unknown", "no blob", is_temporary=temporary
                )

    @rule(worker=workers)
    def fail_all_tasks(self, worker: int) -> None:
        if self.held[worker]:
            task = self.held[worker].pop(0)
            with suppress(LeaseLost):
                self.tasks[worker].fail(task, "auth_failed", "refused", is_temporary=False)
                self.tasks[worker].fail_others(task, "auth_failed", "refused")

    @rule(worker=workers)
    def postpone_task(self, worker: int) -> None:
        if self.held[worker]:
            with suppress(LeaseLost):
                self.tasks[worker].postpone(self.held[worker].pop(0), 60, "paused")

    @rule(worker=workers)
    def extend(self, worker: int) -> None:
        self.tasks[worker].extend(self.held[worker])
        held = self.tasks[worker].held(self.held[worker])
        self.held[worker] = [one for one in self.held[worker] if one.lease_token in held]

    @rule()
    def lose_manifests(self) -> None:
        self.switch.missing = 1

    @rule(worker=workers)
    def finish(self, worker: int) -> None:
        for run in self.runs[worker].endings.to_finish():
            self.runs[worker].endings.finish(run)

    @invariant()
    def states_are_those_of_the_table(self) -> None:
        for row in self.database.read(_STATES, self._ids()):
            self._check_state(row)
        twice = self.database.read(
            "SELECT digest FROM switched GROUP BY digest HAVING count(*) > 1"
        )
        assert not twice

    def _check_state(self, row: Mapping[str, Any]) -> None:
        assert row["lost"] == row["left_over"] == 0
        assert (row["run_id"] is not None) == (row["sync_status"] == SYNCING)
        assert (row["requested_at"] is not None) == (row["sync_status"] == SYNC_NOW)
        assert row["sync_status"] in {NEVER_RUN, SYNC_NOW, SYNCING, SUCCESS, FAIL, CANCEL}
        assert 0 <= row["retries_remaining"] <= 3
        if row["run_id"] is None:
            assert row["lease_token"] is None
            assert row["cancel_requested_at"] is None
            assert not row["is_planned"]

    @invariant()
    def counters_of_finished_runs_are_right(self) -> None:
        for run in self.database.read(_RUNS, self._ids()):
            self.outcomes.add((run["outcome"], run["reason"]))
            done = run["tags_unchanged"] + run["tags_copied"] + run["tags_failed"]
            assert run["tags_copied"] == run["switched"]
            if run["outcome"] == SUCCESS:
                assert run["tags_failed"] == 0
                assert done == run["tags_total"]
            elif run["rollback"] == "true":
                assert run["tags_copied"] == 0
            elif run["outcome"] == FAIL and run["planned_at"]:
                assert done == run["tags_total"]

    def teardown(self) -> None:
        """Let all workers die, and one more end what they began."""
        for worker in range(WORKERS):
            self.lose_leases(worker)
        self.switch.missing = 0
        for _ in range(20):
            self.wait()
            self.finish(0)
            self.claim_run(0)
            self.plan(0, frozenset(TAGS[:2]), frozenset())
            self.claim_task(0)
            self.copy(0)
        for row in self.database.read(_STATES, self._ids()):
            assert row["sync_status"] in {NEVER_RUN, SUCCESS, FAIL, CANCEL}
        self.states_are_those_of_the_table()
        self.counters_of_finished_runs_are_right()
        # A retry of this example's mirrors must not disturb the next one.
        self.database.run(
            "UPDATE repomirrorconfig SET next_at = NULL WHERE repository_id = ANY(%s)", self._ids()
        )

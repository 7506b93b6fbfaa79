"""The runs of mirrors: claimed for planning, planned, and finished.

A run begins when a worker claims a due mirror. Its plan is written in one transaction, after which
workers claim its tasks. A worker that finds no task left, or the run cancelled, finishes it under a
lock of the mirror's row, so that a run ends once.

No state needs the process that caused it. The lease of a planner expires, and the next claim plans
again; the end of a run is found by polling if the worker of its last task died.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

import psycopg2.extensions

from atoll.auth.secrets import Cipher
from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, LeaseLost, unleased
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.mirroring.copying.tag_switch import ManifestsMissing
from atoll.mirroring.events import MirrorEvents
from atoll.mirroring.mirror_records import FAIL, MIRROR, SUCCESS, SYNCING
from atoll.mirroring.outcome import (
    AUTH_FAILED,
    RETRIES,
    RETRY_SECONDS,
    STOPPED,
    SUCCEEDED,
    Outcome,
    failed_tags,
    retry_seconds,
    stored_text,
    too_many_deletions,
)
from atoll.mirroring.rules.settings import MirrorSettings, schedule_of
from atoll.mirroring.rules.tag_rules import split_patterns
from atoll.mirroring.runs.deletions import IS_SELECTABLE, UNSELECTED, due_deletions, forget
from atoll.mirroring.runs.tasks import LEASE_SECONDS, SwitchTags
from atoll.names import RepositoryName
from atoll.registry.tags import alive

_TABLE = LeasedTable("repomirrorconfig")
_NAMES = """
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
JOIN "user" robot ON robot.id = m.internal_robot_id
"""
_NAME_COLUMNS = """
n.username AS namespace, r.name AS repository, r.state AS repository_state,
robot.username AS robot, robot.enabled AND EXISTS (
    SELECT FROM repositorypermission p LEFT JOIN teammember member ON member.team_id = p.team_id
    WHERE p.repository_id = r.id AND p.role IN ('write', 'admin')
      AND robot.id IN (p.user_id, member.user_id)) AS robot_permitted
"""

# Claim a mirror for planning: one whose planner died or waited for the upstream, or one that is
# due. A run in progress is claimed in any state of its repository, because it has to end.
_CLAIM = f"""
WITH next AS (
    SELECT m.id, m.run_id,
           CASE WHEN m.requested_at IS NOT NULL THEN 'request'
                WHEN m.sync_status = '{FAIL}' AND m.retries_remaining > 0 THEN 'retry'
                ELSE 'schedule' END AS cause
    FROM repomirrorconfig m JOIN repository r ON r.id = m.repository_id
    WHERE (m.requested_at IS NOT NULL OR m.run_id IS NOT NULL OR m.next_at <= clock_timestamp())
      AND {unleased("m")} AND m.id > %(after)s AND m.id <> ALL(%(busy)s::bigint[])
      AND CASE WHEN m.run_id IS NOT NULL
               THEN NOT m.is_planned AND m.cancel_requested_at IS NULL
                    AND m.available_at <= clock_timestamp()
               ELSE r.state = '{MIRROR}' AND (m.requested_at IS NOT NULL
                    OR (m.is_enabled AND m.next_at <= clock_timestamp())) END
    ORDER BY m.id LIMIT 1 FOR NO KEY UPDATE OF m SKIP LOCKED
), started AS (
    INSERT INTO mirrorrun (mirror_id, cause, site, instance, started_at)
    SELECT id, cause, %(site)s, %(instance)s, clock_timestamp() FROM next WHERE run_id IS NULL
    RETURNING id, mirror_id, cause, started_at
), continued AS (
    UPDATE mirrorrun SET site = %(site)s, instance = %(instance)s FROM next
    WHERE mirrorrun.id = next.run_id
    RETURNING mirrorrun.id, mirrorrun.mirror_id, mirrorrun.cause, mirrorrun.started_at
), run AS (
    SELECT *, true AS is_new FROM started UNION ALL SELECT *, false FROM continued
), claimed AS (
    UPDATE repomirrorconfig m SET run_id = run.id, sync_status = '{SYNCING}',
        lease_token = gen_random_uuid(),
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s),
        attempts = CASE WHEN run.is_new THEN 1 ELSE m.attempts + 1 END,
        is_planned = false, requested_at = NULL,
        cancel_requested_at = CASE WHEN run.is_new THEN NULL ELSE m.cancel_requested_at END,
        reason = CASE WHEN run.is_new THEN NULL ELSE m.reason END,
        status_message = CASE WHEN run.is_new THEN NULL ELSE m.status_message END,
        last_error = CASE WHEN run.is_new THEN NULL ELSE m.last_error END,
        retries_remaining = CASE WHEN NOT run.is_new THEN m.retries_remaining
                                 WHEN run.cause = 'retry' THEN m.retries_remaining - 1
                                 ELSE {RETRIES} END
    FROM run WHERE m.id = run.mirror_id RETURNING m.*, run.cause, run.started_at
)
SELECT m.*, {_NAME_COLUMNS}, clock_timestamp() AS now,
       array(SELECT t.name FROM tag t WHERE t.repository_id = m.repository_id AND {alive("t")}
             AND {IS_SELECTABLE}) AS existing_tags,
       coalesce((SELECT jsonb_object_agg(known.tag, jsonb_build_array(
                     known.upstream_digest, extract(epoch FROM known.checked_at),
                     extract(epoch FROM known.image_created)))
                 FROM mirrortag known WHERE known.mirror_id = m.id), '{{}}') AS known_tags
FROM claimed m {_NAMES}
"""

# Record what the upstream has. Returns no row if the lease was lost or the run was cancelled.
_PLAN = f"""
WITH ours AS (
    UPDATE repomirrorconfig SET lease_token = NULL, lease_expires = NULL, is_planned = true,
        refusals = 0, last_error = NULL
    WHERE {_TABLE.is_held} AND run_id = %(run_id)s AND cancel_requested_at IS NULL
    RETURNING id, run_id
), selected AS (
    INSERT INTO mirrortag (mirror_id, tag, upstream_digest, image_created, seen_at, checked_at)
    SELECT ours.id, given.tag, CASE WHEN given.is_unchanged THEN given.digest END, given.created,
           clock_timestamp(), CASE WHEN given.is_checked THEN clock_timestamp() END
    FROM ours, unnest(%(tags)s::text[], %(digests)s::text[], %(created)s::timestamptz[],
                      %(unchanged)s::boolean[], %(checked)s::boolean[])
        AS given (tag, digest, created, is_unchanged, is_checked)
    ON CONFLICT (mirror_id, tag) DO UPDATE SET
        upstream_digest = coalesce(EXCLUDED.upstream_digest, mirrortag.upstream_digest),
        image_created = coalesce(EXCLUDED.image_created,
            CASE WHEN EXCLUDED.upstream_digest = mirrortag.upstream_digest
                 THEN mirrortag.image_created END),
        seen_at = EXCLUDED.seen_at, gone_since = NULL,
        checked_at = coalesce(EXCLUDED.checked_at, mirrortag.checked_at),
        last_error = CASE WHEN EXCLUDED.upstream_digest IS NULL THEN mirrortag.last_error END
), gone AS (
    INSERT INTO mirrortag (mirror_id, tag, seen_at, gone_since)
    SELECT ours.id, given.tag, '-infinity', clock_timestamp()
    FROM ours, unnest(%(gone)s::text[]) AS given (tag)
    ON CONFLICT (mirror_id, tag) DO UPDATE
    SET gone_since = coalesce(mirrortag.gone_since, EXCLUDED.gone_since)
), back AS (
    UPDATE mirrortag SET gone_since = NULL FROM ours
    WHERE mirror_id = ours.id AND gone_since IS NOT NULL
      AND NOT tag = ANY(%(gone)s::text[]) AND NOT tag = ANY(%(tags)s::text[])
), tasks AS (
    INSERT INTO mirrortask (run_id, tag, digest, available_at)
    SELECT ours.run_id, given.tag, given.digest, clock_timestamp()
    FROM ours, unnest(%(tags)s::text[], %(digests)s::text[], %(unchanged)s::boolean[])
        AS given (tag, digest, is_unchanged)
    WHERE NOT given.is_unchanged
    ON CONFLICT (run_id, tag) DO NOTHING
), counted AS (
    UPDATE mirrorrun SET planned_at = clock_timestamp(),
        tags_total = cardinality(%(tags)s::text[]),
        tags_unchanged = (SELECT count(*) FROM unnest(%(unchanged)s::boolean[]) AS one WHERE one),
        requests = requests + %(requests)s
    FROM ours WHERE mirrorrun.id = ours.run_id
)
SELECT run_id FROM ours
"""

_POSTPONE = f"""
UPDATE repomirrorconfig SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1,
    last_error = %(error)s, status_message = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {_TABLE.is_held} AND run_id = %(run_id)s RETURNING id
"""

_TO_FINISH = """
SELECT m.run_id FROM repomirrorconfig m
WHERE m.run_id IS NOT NULL AND (m.cancel_requested_at IS NOT NULL
    OR (m.is_planned AND NOT EXISTS (
        SELECT FROM mirrortask t WHERE t.run_id = m.run_id AND t.state = 'pending')))
"""

# NO KEY: the foreign keys of other tables are checked meanwhile.
_LOCK = f"""
SELECT m.*, {_NAME_COLUMNS}, clock_timestamp() AS now FROM repomirrorconfig m {_NAMES}
WHERE m.run_id = %(run_id)s FOR NO KEY UPDATE OF m
"""

_TASKS = """
SELECT tag, digest, state, attached, reason, last_error FROM mirrortask
WHERE run_id = %(run_id)s ORDER BY id
"""

_FAILED_TAGS = """
SELECT tag, coalesce(reason, 'unknown_error') FROM mirrortask
WHERE run_id = %(run_id)s AND state = 'failed' ORDER BY tag
"""
# Failed tags of a run that get an entry in the audit log of their own.
_FAILED_MAXIMUM = 50

_COPY_AGAIN = """
UPDATE mirrortask SET state = 'pending', available_at = clock_timestamp()
WHERE run_id = %(run_id)s AND tag = ANY(%(tags)s::text[]) AND state = 'copied'
"""

_RECORD_ERRORS = """
INSERT INTO mirrortag (mirror_id, tag, last_error)
SELECT %(id)s, tag, coalesce(last_error, reason) FROM mirrortask
WHERE run_id = %(run_id)s AND state = 'failed'
ON CONFLICT (mirror_id, tag) DO UPDATE SET last_error = EXCLUDED.last_error;
DELETE FROM mirrortask WHERE run_id = %(run_id)s;
"""

_FINISH = f"""
UPDATE mirrorrun SET finished_at = clock_timestamp(), outcome = %(status)s, reason = %(reason)s,
    message = %(message)s, tags_copied = tags_copied + %(switched)s,
    tags_deleted = tags_deleted + %(deleted)s
WHERE id = %(run_id)s;
UPDATE repomirrorconfig SET sync_status = %(status)s, reason = %(reason)s,
    status_message = %(message)s, next_at = %(next_at)s, run_id = NULL, is_planned = false,
    lease_token = NULL, lease_expires = NULL, attempts = 0, available_at = clock_timestamp(),
    cancel_requested_at = NULL, requested_at = NULL, last_error = NULL,
    retries_remaining = %(retries)s,
    refusals = CASE WHEN %(refused)s THEN refusals + 1 ELSE refusals END,
    deletions_confirmed = deletions_confirmed AND %(status)s <> '{SUCCESS}',
    last_success_at = CASE WHEN %(status)s = '{SUCCESS}' THEN clock_timestamp()
                           ELSE last_success_at END
WHERE id = %(id)s
"""

# End a run without tasks or deletions whose plan was recorded in the same transaction, unless its
# schedule changed meanwhile.
_FINISH_UNCHANGED = f"""
WITH ended AS (
    UPDATE repomirrorconfig m SET sync_status = '{SUCCESS}', next_at = %(next_at)s, run_id = NULL,
        is_planned = false, attempts = 0, available_at = clock_timestamp(),
        retries_remaining = {RETRIES}, deletions_confirmed = false, status_message = NULL,
        last_success_at = clock_timestamp()
    WHERE m.id = %(id)s AND m.run_id = %(run_id)s AND m.is_planned AND m.lease_token IS NULL
      AND m.cancel_requested_at IS NULL AND m.sync_start_date = %(sync_start_date)s
      AND m.sync_interval = %(sync_interval)s AND m.options = %(options)s::jsonb
      AND NOT EXISTS (SELECT FROM mirrortask WHERE run_id = %(run_id)s)
      AND NOT EXISTS (SELECT FROM ({UNSELECTED}) AS unselected (tag, is_due) WHERE is_due)
    RETURNING id
)
UPDATE mirrorrun SET finished_at = clock_timestamp(), outcome = '{SUCCESS}' FROM ended
WHERE mirrorrun.id = %(run_id)s RETURNING mirrorrun.id
"""


@dataclass(frozen=True)
class KnownTag:
    """What an earlier run recorded of a tag.

    Attributes:
        digest: The digest of the image that was copied; None if it is not known.
        checked_at: When the upstream was asked last, in Unix time.
        created: When the image was created, in Unix time.
    """

    digest: str | None
    checked_at: float | None
    created: float | None


@dataclass(frozen=True)
class RunClaim:
    """A run that is claimed for planning.

    Attributes:
        id: The mirror.
        lease_token: The token of the lease.
        attempts: The number of claims.
        run_id: The run.
        cause: `schedule`, `request` or `retry`.
        repository: The repository, bound to its id.
        repository_state: Its state; only a repository in the state MIRROR may change.
        robot: The robot in whose name tags change.
        robot_permitted: Whether the robot is enabled and may push.
        row: The row of `repomirrorconfig`, for `MirrorSettings.from_row`.
        now: The time of the claim.
        existing_tags: The tags of the repository that a rule can select.
        known_tags: What earlier runs recorded of tags.
        claimed_at: The time of the claim by the monotonic clock of the process.
    """

    id: int
    lease_token: UUID
    attempts: int
    run_id: int
    cause: str
    repository: RepositoryName
    repository_state: str
    robot: str
    robot_permitted: bool
    row: Mapping[str, Any]
    now: datetime
    existing_tags: frozenset[str]
    known_tags: Mapping[str, KnownTag]
    claimed_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Plan:
    """What a run is to copy.

    Attributes:
        selected: The digest of each selected tag at the upstream.
        unchanged: The selected tags that do not have to be copied.
        gone: Tags of the repository that the upstream does not list.
        created: When images of selected tags were created, as far as it is known.
        not_checked: Selected tags for which the upstream was not asked.
        requests: The number of requests to the upstream.
    """

    selected: Mapping[str, str]
    unchanged: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    created: Mapping[str, datetime] = field(default_factory=dict)
    not_checked: frozenset[str] = frozenset()
    requests: int = 0


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended.

    Attributes:
        run_id: The run.
        repository: The repository.
        robot: The robot of the mirror.
        outcome: How it ended.
    """

    run_id: int
    repository: RepositoryName
    robot: str
    outcome: Outcome


class Runs:
    """Claims, plans and finishes runs."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        switch: SwitchTags,
        *,
        site: str,
        instance: str,
        rollback: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Provide the runs of all mirrors.

        Args:
            database: Where they are stored.
            cipher: Decrypts passwords.
            switch: Changes tags.
            site: The location of this process, for people.
            instance: The name of this process, for people.
            rollback: Whether the tags of mirrors without a choice change together or not at all.
            lease_seconds: How long the lease of a planner lasts unless it is extended.
        """
        self._database = database
        self._cipher = cipher
        self._switch = switch
        self._site, self._instance = site, instance
        self._rollback = rollback
        self._queue = LeasedQueue(
            database,
            _TABLE,
            lease_seconds=lease_seconds,
            backoff=Backoff(RETRY_SECONDS[0], RETRY_SECONDS[-1]),
        )

    def claim(self, after: int | None, busy: Sequence[int]) -> tuple[int, RunClaim] | None:
        """Claim a run for planning; mirrors take turns.

        Args:
            after: The mirror that had the last turn; None to start with the first one.
            busy: Mirrors to skip.

        Returns:
            The mirror and the run; None if no mirror after that one is due.
        """
        values = {
            "after": after or 0,
            "busy": list(busy),
            "site": self._site,
            "instance": self._instance,
        }
        rows = self._queue.claim(_CLAIM, values)
        if not rows:
            return None
        claim = _claim(rows[0])
        return claim.id, claim

    def settings(self, row: Mapping[str, Any]) -> MirrorSettings:
        """Return the settings of a mirror.

        Raises:
            InvalidReference: They were written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        return MirrorSettings.from_row(row, self._cipher)

    def changes_together(self, settings: MirrorSettings) -> bool:
        """Return whether all tags of a mirror change together or not at all."""
        return self._rollback if settings.rollback is None else settings.rollback

    def extend(self, claims: Sequence[RunClaim]) -> set[UUID]:
        """Extend leases of planners and return the tokens of those that are still held."""
        return self._queue.extend(claims)

    def give_back(self, claims: Sequence[RunClaim]) -> None:
        """Release runs whose planning did not end; they can be claimed at once."""
        self._queue.give_back(claims)

    def record_plan(self, claim: RunClaim, plan: Plan) -> FinishedRun | None:
        """Record the plan of a run, which ends at once if nothing is to be copied.

        Returns:
            The run if it ended.

        Raises:
            LeaseLost: Another worker plans the run, or it was cancelled.
        """
        tags = sorted(plan.selected)
        values = {
            "run_id": claim.run_id,
            "tags": tags,
            "digests": [plan.selected[tag] for tag in tags],
            "created": [plan.created.get(tag) for tag in tags],
            "unchanged": [tag in plan.unchanged for tag in tags],
            "checked": [tag not in plan.not_checked for tag in tags],
            "gone": sorted(plan.gone),
            "requests": plan.requests,
        }
        values |= {"id": claim.id, "token": claim.lease_token}
        events = _events(claim.row, claim.repository, claim.robot)
        if not plan.unchanged.issuperset(tags):

            def transaction() -> None:
                with self._database.transaction() as cursor:
                    cursor.execute(_PLAN, values)
                    if cursor.fetchone() is None:
                        raise _lost(claim)
                    events.started(cursor)

            retry_conflicts(transaction)
            return None
        now = claim.now + timedelta(seconds=time.monotonic() - claim.claimed_at)
        values |= {
            "repository_id": claim.repository.id,
            "next_at": schedule_of(claim.row).after(now),
            "delete_after": self.settings(claim.row).delete_after.total_seconds(),
            "sync_start_date": claim.row["sync_start_date"],
            "sync_interval": claim.row["sync_interval"],
            "options": json.dumps(claim.row["options"]),
        }
        try:
            retry_conflicts(partial(self._finish_unchanged, values, events))
        except _NotUnchanged:
            # Tags are to be deleted, or the mirror changed.
            if not self._queue.finish(claim, _PLAN, values):
                raise _lost(claim) from None
            return self.finish(claim.run_id, is_new=True)
        return FinishedRun(claim.run_id, claim.repository, claim.robot, SUCCEEDED)

    def _finish_unchanged(self, values: Mapping[str, Any], events: MirrorEvents) -> None:
        """Record a plan without tasks and end its run, with one statement.

        Raises:
            _NotUnchanged: The run does not end like this.
        """
        with self._database.transaction() as cursor:
            batch = _Batch(cursor)
            events.started(cast("Any", batch))
            events.succeeded(cast("Any", batch))
            batch.execute(_PLAN, values)
            batch.execute(_FINISH_UNCHANGED, values)
            if not batch.run():
                raise _NotUnchanged

    def postpone(self, claim: RunClaim, seconds: float, message: str) -> None:
        """Release a run whose upstream asked for a pause; this does not count as a failure.

        Raises:
            LeaseLost: Another worker plans the run, or it was cancelled.
        """
        values = {"run_id": claim.run_id, "wait": seconds, "error": stored_text(message)}
        if not self._queue.finish(claim, _POSTPONE, values):
            raise _lost(claim)

    def fail(self, claim: RunClaim, outcome: Outcome) -> FinishedRun:
        """End a run that cannot be planned.

        Raises:
            LeaseLost: Another worker plans the run, or it was cancelled.
        """
        finished = retry_conflicts(lambda: self._finish(claim.run_id, claim, outcome, is_new=True))
        if finished is None:
            raise _lost(claim)
        return finished

    def to_finish(self) -> list[int]:
        """Return the runs that are cancelled, or of which no task is left."""
        return [row[0] for row in self._database.run(_TO_FINISH)]

    def is_done(self, run_id: int) -> bool:
        """Return whether no task of a run is left."""
        return bool(self._database.run(f"{_TO_FINISH} AND m.run_id = %s", [run_id]))

    def finish(self, run_id: int, *, is_new: bool = False) -> FinishedRun | None:
        """End a run that was cancelled or whose tasks are all done.

        Args:
            run_id: The run.
            is_new: Whether its start has yet to be reported.

        Returns:
            The run; None if it ended already or is still in progress.
        """
        try:
            return retry_conflicts(lambda: self._finish(run_id, is_new=is_new))
        except ManifestsMissing as error:
            # Manifests without a tag were collected while the run waited for the others.
            self._database.run(_COPY_AGAIN, {"run_id": run_id, "tags": error.tags})
            return None

    def _finish(
        self,
        run_id: int,
        claim: RunClaim | None = None,
        failure: Outcome | None = None,
        *,
        is_new: bool = False,
    ) -> FinishedRun | None:
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK, {"run_id": run_id})
            found = cursor.fetchone()
            if found is None:
                return None
            row = dict(found)
            if claim is not None and row["lease_token"] != claim.lease_token:
                return None
            name = RepositoryName(row["namespace"], row["repository"], row["repository_id"])
            switched = deleted = 0
            if row["cancel_requested_at"] is not None:
                outcome: Outcome | None = STOPPED
            elif failure is not None:
                outcome = failure
            else:
                outcome, switched, deleted = self._end(cursor, row, name)
            if outcome is None:
                return None
            events = _events(row, name, row["robot"])
            if is_new:
                events.started(cursor)
            _record_events(cursor, events, row, outcome)
            self._record(cursor, row, outcome, switched=switched, deleted=deleted)
            return FinishedRun(run_id, name, row["robot"], outcome)

    def _end(
        self, cursor: psycopg2.extensions.cursor, row: Mapping[str, Any], name: RepositoryName
    ) -> tuple[Outcome | None, int, int]:
        """Switch the tags that waited for each other, and delete tags.

        Returns:
            The outcome, None if tasks are left, and the numbers of switched and deleted tags.
        """
        if not row["is_planned"]:
            return None, 0, 0
        # A new snapshot: the tasks as they are after the lock was taken.
        cursor.execute(_TASKS, row)
        tasks: list[Mapping[str, Any]] = cast("Any", cursor.fetchall())
        if any(task["state"] == "pending" for task in tasks):
            return None, 0, 0
        reasons = {
            task["tag"]: task["reason"] or "unknown_error"
            for task in tasks
            if task["state"] == "failed"
        }
        if reasons:
            cursor.execute("SELECT tags_total FROM mirrorrun WHERE id = %(run_id)s", row)
            total = cursor.fetchone()
            return failed_tags(reasons, total[0] if total else 0), 0, 0
        switched: dict[str, str] = {}
        for task in tasks:
            switched |= {**task["attached"], task["tag"]: task["digest"]}
        if switched:
            self._switch.switch_in(cursor, name, switched, row["robot"])
            events = _events(row, name, row["robot"])
            events.tags_succeeded(cursor, [task["tag"] for task in tasks])
        deletions = due_deletions(cursor, row, self.settings(row))
        if deletions.is_refused:
            outcome = too_many_deletions(len(deletions.tags), deletions.existing)
            return outcome, len(tasks), 0
        if deletions.tags:
            self._switch.end_in(cursor, name, deletions.tags, row["robot"])
            forget(cursor, row["id"], deletions.tags)
        return SUCCEEDED, len(tasks), len(deletions.tags)

    def _record(
        self,
        cursor: psycopg2.extensions.cursor,
        row: Mapping[str, Any],
        outcome: Outcome,
        *,
        switched: int,
        deleted: int,
    ) -> None:
        retries = row["retries_remaining"]
        if not outcome.is_temporary:
            retries = 0 if outcome.status == FAIL else RETRIES
        next_at = schedule_of(row).after(row["now"])
        if outcome.is_temporary and retries > 0:
            next_at = row["now"] + timedelta(seconds=retry_seconds(RETRIES - retries + 1))
        values = {
            "id": row["id"],
            "run_id": row["run_id"],
            "status": outcome.status,
            "reason": outcome.reason,
            "message": outcome.message,
            "switched": switched,
            "deleted": deleted,
            "next_at": next_at,
            "retries": retries,
            "refused": outcome.reason == AUTH_FAILED,
        }
        cursor.execute(_RECORD_ERRORS, values)
        cursor.execute(_FINISH, values)


class _NotUnchanged(Exception):
    """A run without tasks does not end at once."""


class _Batch:
    """Collects statements, and runs them in one round trip."""

    def __init__(self, cursor: psycopg2.extensions.cursor) -> None:
        self._cursor = cursor
        self._statements: list[bytes] = []

    def execute(self, statement: str, values: Mapping[str, Any]) -> None:
        """Add statements."""
        self._statements.append(self._cursor.mogrify(statement, values))

    def run(self) -> bool:
        """Run the statements, and return whether the last one returned a row."""
        self._cursor.execute(b";".join(self._statements))
        return self._cursor.fetchone() is not None


def _events(row: Mapping[str, Any], name: RepositoryName, robot: str) -> MirrorEvents:
    patterns = split_patterns(row["root_rule"]["rule_value"])
    return MirrorEvents(name, robot, row["external_reference"], patterns)


def _record_events(
    cursor: psycopg2.extensions.cursor,
    events: MirrorEvents,
    row: Mapping[str, Any],
    outcome: Outcome,
) -> None:
    """Record the end of a run, and its failed tags, of which the first ones are named."""
    if outcome.status == SUCCESS:
        events.succeeded(cursor)
        return
    cursor.execute(_FAILED_TAGS, row)
    failures: dict[str, str] = dict(cursor.fetchall())
    for tag, code in list(failures.items())[:_FAILED_MAXIMUM]:
        events.tag_failed(cursor, tag, code)
    if outcome == STOPPED:
        events.cancelled(cursor)
    else:
        events.failed(cursor, outcome.reason or "unknown_error", failures)


def _claim(row: Mapping[str, Any]) -> RunClaim:
    values = dict(row)
    known = values.pop("known_tags")
    return RunClaim(
        values["id"],
        values["lease_token"],
        values["attempts"],
        values["run_id"],
        values["cause"],
        RepositoryName(values["namespace"], values["repository"], values["repository_id"]),
        values["repository_state"],
        values["robot"],
        values["robot_permitted"],
        values,
        values["now"],
        frozenset(values.pop("existing_tags")),
        {tag: KnownTag(*facts) for tag, facts in known.items()},
    )


def _lost(claim: RunClaim) -> LeaseLost:
    return LeaseLost(f"the lease of the plan of '{claim.repository}'")

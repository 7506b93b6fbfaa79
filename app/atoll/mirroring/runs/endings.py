"""The ends of runs.

A worker that finds no task left, or the run cancelled, ends it under a lock of the mirror's row, so
that a run ends once. The end is found by polling if the worker of the last task died.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import psycopg2.extensions

from atoll.auth.secrets import SecretUnreadable
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.mirroring.copying.tag_switch import ManifestsMissing
from atoll.mirroring.events import MirrorEvents
from atoll.mirroring.mirror_records import CANCEL, FAIL, SUCCESS
from atoll.mirroring.outcome import (
    AUTH_FAILED,
    RETRIES,
    STOPPED,
    SUCCEEDED,
    Outcome,
    failed_tags,
    retry_seconds,
    too_many_deletions,
)
from atoll.mirroring.rules.settings import schedule_of
from atoll.mirroring.rules.tag_rules import split_patterns
from atoll.mirroring.runs.claims import NAME_COLUMNS, NAMES, RunClaim, lost
from atoll.mirroring.runs.deletions import due_deletions, forget
from atoll.mirroring.runs.failures import outcome_of
from atoll.mirroring.runs.run_settings import RunSettings
from atoll.mirroring.runs.tasks import SwitchTags
from atoll.names import RepositoryName
from atoll.upstream.errors import TransferError

log = logging.getLogger(__name__)

_TO_FINISH = """
SELECT m.run_id FROM repomirrorconfig m
WHERE m.run_id IS NOT NULL AND (m.cancel_requested_at IS NOT NULL
    OR (m.is_planned AND NOT EXISTS (
        SELECT FROM mirrortask t WHERE t.run_id = m.run_id AND t.state = 'pending')))
"""

# NO KEY: the foreign keys of other tables are checked meanwhile.
_LOCK = f"""
SELECT m.*, {NAME_COLUMNS}, clock_timestamp() AS now FROM repomirrorconfig m {NAMES}
WHERE m.run_id = %(run_id)s FOR NO KEY UPDATE OF m
"""

_TASKS = """
SELECT tag, digest, state, attached, reason, last_error FROM mirrortask
WHERE run_id = %(run_id)s ORDER BY id
"""

_RUN = """
SELECT tags_total, settings_version, extract(epoch FROM clock_timestamp() - started_at)::float8
FROM mirrorrun WHERE id = %(run_id)s
"""

_FAILED_TAGS = """
SELECT tag, coalesce(reason, 'unknown_error') FROM mirrortask
WHERE run_id = %(run_id)s AND state = 'failed' ORDER BY tag
"""
# Failed tags of a run that get an entry in the audit log of their own.
_FAILED_MAXIMUM = 50

# Copy the images of missing tags again, which may be the signatures of these images.
_COPY_AGAIN = """
UPDATE mirrortask SET state = 'pending', available_at = clock_timestamp(), attempts = failures
WHERE run_id = %(run_id)s AND state = 'copied'
  AND (tag = ANY(%(tags)s::text[]) OR attached ?| %(tags)s::text[])
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
    message = coalesce(%(message)s, message), unselected = '{{}}',
    tags_copied = tags_copied + %(switched)s, tags_deleted = tags_deleted + %(deleted)s
WHERE id = %(run_id)s;
UPDATE repomirrorconfig SET sync_status = %(status)s, reason = %(reason)s,
    status_message = coalesce(%(message)s, (SELECT message FROM mirrorrun WHERE id = %(run_id)s)),
    next_at = %(next_at)s, run_id = NULL, is_planned = false,
    lease_token = NULL, lease_expires = NULL, attempts = 0, available_at = clock_timestamp(),
    cancel_requested_at = NULL, requested_at = NULL, last_error = NULL,
    retries_remaining = %(retries)s,
    refusals = CASE WHEN %(refused)s THEN refusals + 1 ELSE refusals END,
    deletions_confirmed = false,
    last_success_at = CASE WHEN %(status)s = '{SUCCESS}' THEN clock_timestamp()
                           ELSE last_success_at END
WHERE id = %(id)s
"""


@dataclass(frozen=True)
class FinishedRun:
    """A run that ended.

    Attributes:
        run_id: The run.
        repository: The repository.
        robot: The robot of the mirror.
        outcome: How it ended.
        seconds: The time from its start to its end.
        of_organization: Whether the mirror belongs to that of its organization.
    """

    run_id: int
    repository: RepositoryName
    robot: str
    outcome: Outcome
    seconds: float
    of_organization: bool


@dataclass(frozen=True)
class _Ending:
    """How a run ends, and how many tags change with its end."""

    outcome: Outcome
    switched: int = 0
    deleted: int = 0


class RunEndings:
    """Ends runs: successful, failed and cancelled ones."""

    def __init__(self, database: Database, switch: SwitchTags, settings: RunSettings) -> None:
        """Provide the ends of all runs.

        Args:
            database: Where they are stored.
            switch: Changes tags.
            settings: Reads the settings of mirrors.
        """
        self._database = database
        self._switch = switch
        self._settings = settings

    def fail(self, claim: RunClaim, outcome: Outcome) -> FinishedRun:
        """End a run that cannot be planned.

        Raises:
            LeaseLost: Another worker plans the run, or it was cancelled.
        """
        finished = retry_conflicts(lambda: self._finish(claim.run_id, claim, outcome, is_new=True))
        if finished is None:
            raise lost(claim)
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
        except (TransferError, SecretUnreadable) as error:
            log.warning("run failed at its end", extra={"run": run_id, "cause": str(error)})
            failure = outcome_of(error)
            return retry_conflicts(lambda: self._finish(run_id, failure=failure, is_new=is_new))

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
            # A new snapshot: the run and its tasks as they are after the lock was taken.
            cursor.execute(_RUN, row)
            total, version, seconds = cast("tuple[int, int, float]", cursor.fetchone())
            if claim is not None:
                version = claim.row["settings_version"]
            is_outdated = row["settings_version"] != version
            if row["cancel_requested_at"] is not None:
                ending: _Ending | None = _Ending(STOPPED)
            elif failure is not None:
                ending = _Ending(failure)
            else:
                ending = self._end(cursor, row, name, total, may_delete=not is_outdated)
            if ending is None:
                return None
            events = events_of(row, name, row["robot"])
            if is_new:
                events.started(cursor)
            _record_events(cursor, events, row, ending.outcome)
            cursor.execute(_RECORD_ERRORS, row)
            cursor.execute(_FINISH, _last_values(row, ending, is_outdated=is_outdated))
            return FinishedRun(
                run_id,
                name,
                row["robot"],
                ending.outcome,
                seconds,
                of_organization=row["org_mirror_id"] is not None,
            )

    def _end(
        self,
        cursor: psycopg2.extensions.cursor,
        row: Mapping[str, Any],
        name: RepositoryName,
        total: int,
        *,
        may_delete: bool,
    ) -> _Ending | None:
        """Switch the tags that waited for each other, and delete tags.

        Returns:
            How the run ends; None if tasks are left.
        """
        if not row["is_planned"]:
            return None
        cursor.execute(_TASKS, row)
        tasks: list[Mapping[str, Any]] = cast("Any", cursor.fetchall())
        if any(task["state"] == "pending" for task in tasks):
            return None
        reasons = {
            task["tag"]: task["reason"] or "unknown_error"
            for task in tasks
            if task["state"] == "failed"
        }
        if reasons:
            return _Ending(failed_tags(reasons, total))
        switched: dict[str, str] = {}
        for task in tasks:
            switched |= {**task["attached"], task["tag"]: task["digest"]}
        if switched:
            self._switch.switch_in(cursor, name, switched, row["robot"])
            events = events_of(row, name, row["robot"])
            events.tags_succeeded(cursor, [task["tag"] for task in tasks])
        if not may_delete:
            return _Ending(SUCCEEDED, len(tasks))
        deletions = due_deletions(cursor, row, self._settings.of(row))
        if deletions.is_refused:
            outcome = too_many_deletions(len(deletions.tags), deletions.existing)
            return _Ending(outcome, len(tasks))
        if deletions.tags:
            self._switch.end_in(cursor, name, deletions.tags, row["robot"])
            forget(cursor, row["id"], deletions.tags)
        return _Ending(SUCCEEDED, len(tasks), len(deletions.tags))


def _last_values(
    row: Mapping[str, Any], ending: _Ending, *, is_outdated: bool
) -> dict[str, object]:
    """Return the parameters of _FINISH.

    Args:
        row: The row of `repomirrorconfig`.
        ending: How the run ends.
        is_outdated: Whether the settings changed since the run was planned, so that the next one
            is to begin at once.
    """
    outcome, schedule, now = ending.outcome, schedule_of(row), row["now"]
    retries = row["retries_remaining"]
    if not outcome.is_temporary:
        retries = 0 if outcome.status == FAIL else RETRIES
    next_at = schedule.after(now)
    if is_outdated and outcome.status != CANCEL:
        retries, next_at = RETRIES, schedule.postponed(now)
    elif outcome.is_temporary and retries > 0:
        retry_at = now + timedelta(seconds=retry_seconds(RETRIES - retries + 1))
        next_at = schedule.postponed(retry_at)
    return {
        "id": row["id"],
        "run_id": row["run_id"],
        "status": outcome.status,
        "reason": outcome.reason,
        "message": outcome.message,
        "switched": ending.switched,
        "deleted": ending.deleted,
        "next_at": next_at,
        "retries": retries,
        "refused": outcome.reason == AUTH_FAILED and not is_outdated,
    }


def events_of(row: Mapping[str, Any], name: RepositoryName, robot: str) -> MirrorEvents:
    """Return the events of the mirror in a row of `repomirrorconfig`."""
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

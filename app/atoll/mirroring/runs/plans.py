"""The plans of runs: tasks for changed tags, recorded in one transaction.

A run without tasks and deletions ends with its plan.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

import psycopg2.extensions

from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts, run_with_retries
from atoll.mirroring.events import MirrorEvents
from atoll.mirroring.mirror_records import SUCCESS
from atoll.mirroring.outcome import RETRIES, SUCCEEDED, undated_tags
from atoll.mirroring.problems import problem_text
from atoll.mirroring.rules.settings import schedule_of
from atoll.mirroring.runs.claims import MIRROR_LEASES, RunClaim, lost
from atoll.mirroring.runs.deletions import UNSELECTED
from atoll.mirroring.runs.endings import FinishedRun, RunEndings, events_of
from atoll.mirroring.runs.run_settings import RunSettings

# Rows of tags without changes are written again after so many seconds, and not with each run, which
# would write all tags of all mirrors each minute.
_RECORD_SECONDS = 3600

# Record what the upstream has. Returns no row if the lease was lost, the run was cancelled, or the
# settings changed.
_PLAN = f"""
WITH ours AS (
    UPDATE repomirrorconfig SET lease_token = NULL, lease_expires = NULL, is_planned = true,
        refusals = 0, last_error = NULL
    WHERE {MIRROR_LEASES.is_held} AND run_id = %(run_id)s AND cancel_requested_at IS NULL
      AND settings_version = %(settings_version)s
    RETURNING id, run_id
), selected AS (
    INSERT INTO mirrortag (mirror_id, tag, upstream_digest, image_created, seen_at, checked_at)
    SELECT ours.id, given.tag, CASE WHEN given.is_unchanged THEN given.digest END, given.created,
           clock_timestamp(), CASE WHEN given.is_checked THEN clock_timestamp() END
    FROM ours CROSS JOIN unnest(%(tags)s::text[], %(digests)s::text[], %(created)s::timestamptz[],
                                %(unchanged)s::boolean[], %(checked)s::boolean[])
        AS given (tag, digest, created, is_unchanged, is_checked)
    LEFT JOIN mirrortag known ON known.mirror_id = ours.id AND known.tag = given.tag
    WHERE NOT given.is_unchanged OR known.tag IS NULL OR known.gone_since IS NOT NULL
       OR known.last_error IS NOT NULL OR known.upstream_digest IS DISTINCT FROM given.digest
       OR (given.created IS NOT NULL AND given.created IS DISTINCT FROM known.image_created)
       OR least(known.seen_at, CASE WHEN given.is_checked
                                    THEN coalesce(known.checked_at, '-infinity') END)
          < clock_timestamp() - make_interval(secs => {_RECORD_SECONDS})
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
), failed AS (
    INSERT INTO mirrortask (run_id, tag, state, reason, last_error)
    SELECT ours.run_id, given.tag, 'failed', given.reason, given.error
    FROM ours, unnest(%(failed)s::text[], %(reasons)s::text[], %(errors)s::text[])
        AS given (tag, reason, error)
    ON CONFLICT (run_id, tag) DO NOTHING
), counted AS (
    UPDATE mirrorrun SET planned_at = clock_timestamp(),
        settings_version = %(settings_version)s, unselected = %(unselected)s::bigint[],
        tags_total = %(total)s,
        tags_failed = cardinality(%(failed)s::text[]), message = %(message)s,
        tags_unchanged = (SELECT count(*) FROM unnest(%(unchanged)s::boolean[]) AS one WHERE one),
        requests = requests + %(requests)s
    FROM ours WHERE mirrorrun.id = ours.run_id
)
SELECT run_id FROM ours
"""

# End a run without tasks or deletions whose plan was recorded in the same transaction, unless its
# schedule changed meanwhile.
_FINISH_UNCHANGED = f"""
WITH ended AS (
    UPDATE repomirrorconfig m SET sync_status = '{SUCCESS}', next_at = %(next_at)s, run_id = NULL,
        is_planned = false, attempts = 0, available_at = clock_timestamp(),
        retries_remaining = {RETRIES}, deletions_confirmed = false,
        status_message = (SELECT message FROM mirrorrun WHERE id = %(run_id)s),
        last_success_at = clock_timestamp()
    WHERE m.id = %(id)s AND m.run_id = %(run_id)s AND m.is_planned AND m.lease_token IS NULL
      AND m.cancel_requested_at IS NULL AND m.sync_start_date = %(sync_start_date)s
      AND m.sync_interval = %(sync_interval)s AND m.options = %(options)s::jsonb
      AND NOT EXISTS (SELECT FROM mirrortask WHERE run_id = %(run_id)s)
      AND NOT EXISTS (SELECT FROM ({UNSELECTED}) AS unselected (tag, row, is_due) WHERE is_due)
    RETURNING id
)
UPDATE mirrorrun SET finished_at = clock_timestamp(), outcome = '{SUCCESS}' FROM ended
WHERE mirrorrun.id = %(run_id)s RETURNING mirrorrun.id
"""


@dataclass(frozen=True)
class Plan:
    """What a run is to copy.

    Attributes:
        selected: The digest of each selected tag at the upstream.
        unchanged: The selected tags that do not have to be copied.
        gone: Tags of the repository that the upstream does not list.
        created: When images of selected tags were created, as far as it is known.
        not_checked: Selected tags for which the upstream was not asked.
        failed: Tags that the upstream did not describe, with the codes of the failures. They are
            kept as they are, and the run fails.
        undated: Tags that are not selected because their images have no date. They are kept.
        requests: The number of requests to the upstream.
    """

    selected: Mapping[str, str]
    unchanged: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    created: Mapping[str, datetime] = field(default_factory=dict)
    not_checked: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    undated: frozenset[str] = frozenset()
    requests: int = 0

    @property
    def total(self) -> int:
        """The number of selected tags, with those that failed."""
        return len(self.selected) + len(self.failed)

    @property
    def kept(self) -> Set[str]:
        """The tags that do not end with the run."""
        return self.selected.keys() | self.failed.keys() | self.undated


class RunPlans:
    """Records the plans of claimed runs."""

    def __init__(self, database: Database, settings: RunSettings, endings: RunEndings) -> None:
        """Provide the plans of all mirrors.

        Args:
            database: Where they are stored.
            settings: Reads the settings of mirrors.
            endings: Ends runs that have deletions only.
        """
        self._database = database
        self._settings = settings
        self._endings = endings

    def record(self, claim: RunClaim, plan: Plan) -> FinishedRun | None:
        """Record the plan of a run, which ends at once if nothing is to be copied.

        Returns:
            The run if it ended.

        Raises:
            LeaseLost: Another worker plans the run, it was cancelled, or the settings changed.
        """
        tags, failed, kept = sorted(plan.selected), sorted(plan.failed), plan.kept
        values = {
            "run_id": claim.run_id,
            "tags": tags,
            "digests": [plan.selected[tag] for tag in tags],
            "created": [plan.created.get(tag) for tag in tags],
            "unchanged": [tag in plan.unchanged for tag in tags],
            "checked": [tag not in plan.not_checked for tag in tags],
            "gone": sorted(plan.gone),
            "unselected": sorted(
                row for tag, row in claim.existing_tags.items() if tag not in kept
            ),
            "total": plan.total,
            "failed": failed,
            "reasons": [plan.failed[tag] for tag in failed],
            "errors": [problem_text(plan.failed[tag]) for tag in failed],
            "message": undated_tags(plan.undated) if plan.undated else None,
            "settings_version": claim.row["settings_version"],
            "requests": plan.requests,
        }
        values |= {"id": claim.id, "token": claim.lease_token}
        events = events_of(claim.row, claim.repository, claim.robot)
        if not plan.unchanged.issuperset(tags):

            def transaction() -> None:
                with self._database.transaction() as cursor:
                    cursor.execute(_PLAN, values)
                    if cursor.fetchone() is None:
                        raise lost(claim)
                    events.started(cursor)

            retry_conflicts(transaction)
            return None
        now = claim.now + timedelta(seconds=time.monotonic() - claim.claimed_at)
        values |= {
            "repository_id": claim.repository.id,
            "next_at": schedule_of(claim.row).after(now),
            "delete_after": self._settings.of(claim.row).delete_after.total_seconds(),
            "sync_start_date": claim.row["sync_start_date"],
            "sync_interval": claim.row["sync_interval"],
            "options": json.dumps(claim.row["options"]),
        }
        try:
            if failed:
                raise _NotUnchanged
            retry_conflicts(partial(self._finish_unchanged, values, events))
        except _NotUnchanged:
            # Tags failed or are to be deleted, or the mirror changed.
            if not run_with_retries(self._database, _PLAN, values):
                raise lost(claim) from None
            return self._endings.finish(claim.run_id, is_new=True)
        return FinishedRun(
            claim.run_id,
            claim.repository,
            claim.robot,
            SUCCEEDED,
            (now - claim.row["started_at"]).total_seconds(),
            of_organization=claim.row["org_mirror_id"] is not None,
        )

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

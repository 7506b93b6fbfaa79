"""The claims of runs: a due mirror is claimed for planning, with a lease.

A run begins when a worker claims a due mirror. The lease of a planner that died expires, and the
next claim plans again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.leased_queue import (
    Backoff,
    LeasedQueue,
    LeasedTable,
    LeaseLost,
    lease_parameters,
    unleased,
)
from atoll.db.pool import Database
from atoll.mirroring.mirror_records import FAIL, MIRROR, SYNCING
from atoll.mirroring.outcome import RETRIES, RETRY_SECONDS, stored_text
from atoll.mirroring.rules.schedule import within_hours
from atoll.mirroring.runs.deletions import IS_SELECTABLE
from atoll.names import RepositoryName
from atoll.registry.tags import alive

MIRROR_LEASES = LeasedTable("repomirrorconfig")
# The repository, its namespace and the robot of the mirror `m`.
NAMES = """
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
JOIN "user" robot ON robot.id = m.internal_robot_id
"""
NAME_COLUMNS = """
n.username AS namespace, r.name AS repository, r.state AS repository_state,
robot.username AS robot, robot.enabled AND EXISTS (
    SELECT FROM repositorypermission p LEFT JOIN teammember member ON member.team_id = p.team_id
    WHERE p.repository_id = r.id AND p.role IN ('write', 'admin')
      AND robot.id IN (p.user_id, member.user_id)) AS robot_permitted
"""
# The time, the tags of the repository and what earlier runs recorded of tags.
_TAG_COLUMNS = f"""
clock_timestamp() AS now,
coalesce((SELECT jsonb_object_agg(t.name, t.id) FROM tag t
          WHERE t.repository_id = m.repository_id AND {alive("t")} AND {IS_SELECTABLE}),
         '{{}}') AS existing_tags,
coalesce((SELECT jsonb_object_agg(known.tag, jsonb_build_array(
              known.upstream_digest, extract(epoch FROM known.checked_at),
              extract(epoch FROM known.image_created)))
          FROM mirrortag known WHERE known.mirror_id = m.id), '{{}}') AS known_tags
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
    WHERE (m.requested_at IS NOT NULL OR m.run_id IS NOT NULL
           OR m.next_at <= statement_timestamp())
      AND {unleased("m", "statement_timestamp()")}
      AND m.id > %(after)s AND m.id <> ALL(%(busy)s::bigint[])
      AND CASE WHEN m.run_id IS NOT NULL
               THEN NOT m.is_planned AND m.cancel_requested_at IS NULL
                    AND m.available_at <= statement_timestamp()
               ELSE r.state = '{MIRROR}' AND (m.requested_at IS NOT NULL
                    OR (m.is_enabled AND m.next_at <= statement_timestamp()
                        AND {within_hours("m")})) END
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
        lost_claims = CASE WHEN run.is_new THEN 0
                           ELSE m.lost_claims + (m.lease_token IS NOT NULL)::int END,
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
SELECT m.*, {NAME_COLUMNS}, {_TAG_COLUMNS}FROM claimed m {NAMES}
"""

_OBSERVE = f"""
SELECT m.*, 'request' AS cause, {NAME_COLUMNS}, {_TAG_COLUMNS}
FROM repomirrorconfig m {NAMES} WHERE m.id = %(id)s
"""

_HELD = f"""
WITH {MIRROR_LEASES.held}
SELECT m.lease_token FROM held
JOIN repomirrorconfig m ON m.id = held.id AND m.lease_token = held.token
WHERE m.cancel_requested_at IS NULL
"""

_POSTPONE = f"""
UPDATE repomirrorconfig SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1,
    last_error = %(error)s, status_message = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {MIRROR_LEASES.is_held} AND run_id = %(run_id)s RETURNING id
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
        existing_tags: The tags of the repository that a rule can select, with the keys of their
            rows.
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
    existing_tags: Mapping[str, int]
    known_tags: Mapping[str, KnownTag]
    claimed_at: float = field(default_factory=time.monotonic)


class RunClaims:
    """Claims runs for planning, and extends and releases the leases."""

    def __init__(
        self, database: Database, *, site: str, instance: str, lease_seconds: float
    ) -> None:
        """Provide the claims of all mirrors.

        Args:
            database: Where they are stored.
            site: The location of this process, for people.
            instance: The name of this process, for people.
            lease_seconds: How long the lease of a planner lasts unless it is extended.
        """
        self._site, self._instance = site, instance
        self._queue = LeasedQueue(
            database,
            MIRROR_LEASES,
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

    def extend(self, claims: Sequence[RunClaim]) -> set[UUID]:
        """Extend leases of planners and return the tokens of those that are still held."""
        return self._queue.extend(claims)

    def held(self, claims: Sequence[RunClaim]) -> set[UUID]:
        """Return the tokens of the plans whose leases are held and whose runs are not cancelled."""
        return {row[0] for row in self._queue.run(_HELD, lease_parameters(claims))}

    def give_back(self, claims: Sequence[RunClaim]) -> None:
        """Release runs whose planning did not end; they can be claimed at once."""
        self._queue.give_back(claims)

    def postpone(self, claim: RunClaim, seconds: float, message: str) -> None:
        """Release a run whose upstream asked for a pause; this does not count as a failure.

        Raises:
            LeaseLost: Another worker plans the run, or it was cancelled.
        """
        values = {"run_id": claim.run_id, "wait": seconds, "error": stored_text(message)}
        if not self._queue.finish(claim, _POSTPONE, values):
            raise lost(claim)


def observed(database: Database, mirror_id: int) -> RunClaim | None:
    """Return a mirror as a claim finds it, but without a lease; None if it was deleted."""
    rows = database.read(_OBSERVE, {"id": mirror_id})
    return _claim(rows[0]) if rows else None


def lost(claim: RunClaim) -> LeaseLost:
    """Return the error of a claim whose lease was lost."""
    return LeaseLost(f"the lease of the plan of '{claim.repository}'")


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
        values.pop("existing_tags"),
        {tag: KnownTag(*facts) for tag, facts in known.items()},
    )

"""The discoveries of repositories: claimed with leases by the workers of all sites, and ended.

No state needs the process that caused it: after its lease expired, the next claim starts again. A
cancellation and a change of what is to be discovered take the lease away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, unleased
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.mirroring.mirror_records import FAIL, SYNCING
from atoll.mirroring.organizations.organization_events import (
    LOG_STARTED,
    SYNC_FAILED,
    log_outcome,
)
from atoll.mirroring.organizations.records import (
    NAME_COLUMNS,
    NAMES,
    REFERENCE,
    OrganizationMirror,
    organization_mirror,
)
from atoll.mirroring.outcome import AUTH_FAILED, RETRIES, RETRY_SECONDS, Outcome, retry_seconds
from atoll.mirroring.rules.schedule import within_hours
from atoll.mirroring.rules.settings import schedule_of

LEASE_SECONDS = 60.0

TABLE = LeasedTable("orgmirrorconfig")

# Claim a mirror whose discovery is due or requested, or was given up by its process.
_CLAIM = f"""
WITH next AS (
    SELECT m.id, m.sync_status <> '{SYNCING}' AS is_new,
           m.requested_at IS NULL AND m.sync_status = '{FAIL}'
               AND m.retries_remaining > 0 AS is_retry
    FROM orgmirrorconfig m
    WHERE (m.requested_at IS NOT NULL OR m.sync_status = '{SYNCING}'
           OR (m.is_enabled AND m.next_at <= clock_timestamp() AND {within_hours("m")}))
      AND {unleased("m")} AND m.available_at <= clock_timestamp()
      AND m.id > %(after)s AND m.id <> ALL(%(busy)s::bigint[])
    ORDER BY m.id LIMIT 1 FOR NO KEY UPDATE OF m SKIP LOCKED
), claimed AS (
    UPDATE orgmirrorconfig m SET sync_status = '{SYNCING}',
        lease_token = gen_random_uuid(),
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s),
        attempts = CASE WHEN next.is_new THEN 1 ELSE m.attempts + 1 END,
        started_at = CASE WHEN next.is_new THEN clock_timestamp() ELSE m.started_at END,
        reason = NULL, status_message = NULL, last_error = NULL,
        retries_remaining = CASE WHEN NOT next.is_new THEN m.retries_remaining
                                 WHEN next.is_retry THEN m.retries_remaining - 1
                                 ELSE {RETRIES} END
    FROM next WHERE m.id = next.id RETURNING m.*, next.is_new
), started AS (
    SELECT o.username AS organization, robot.username AS robot, {REFERENCE} AS reference
    FROM claimed m {NAMES} WHERE m.is_new
), logged AS ({LOG_STARTED})
SELECT m.*, {NAME_COLUMNS} FROM claimed m {NAMES}
"""

_POSTPONE = f"""
UPDATE orgmirrorconfig SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1,
    last_error = %(error)s, status_message = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {TABLE.is_held}
"""

_FAIL = f"""
UPDATE orgmirrorconfig SET sync_status = '{FAIL}', reason = %(reason)s,
    status_message = %(message)s, lease_token = NULL, lease_expires = NULL, attempts = 0,
    requested_at = NULL, finished_at = clock_timestamp(), available_at = clock_timestamp(),
    refusals = CASE WHEN %(refused)s THEN refusals + 1 ELSE refusals END,
    next_at = CASE WHEN %(is_temporary)s AND retries_remaining > 0
                   THEN clock_timestamp() + make_interval(secs => %(wait)s) ELSE %(next_at)s END,
    retries_remaining = CASE WHEN %(is_temporary)s THEN retries_remaining ELSE 0 END
WHERE {TABLE.is_held} RETURNING id
"""


@dataclass(frozen=True)
class DiscoveryClaim:
    """A discovery that is claimed.

    Attributes:
        id: The mirror.
        lease_token: The token of the lease.
        attempts: The number of claims.
        mirror: The mirror, as it was when it was claimed.
    """

    id: int
    lease_token: UUID
    attempts: int
    mirror: OrganizationMirror


class Discoveries:
    """Claims and ends discoveries; see `Reconciliation` for those that succeed."""

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._queue = LeasedQueue(
            database,
            TABLE,
            lease_seconds=lease_seconds,
            backoff=Backoff(RETRY_SECONDS[0], RETRY_SECONDS[-1]),
        )

    def claim(self, after: int | None, busy: Sequence[int]) -> tuple[int, DiscoveryClaim] | None:
        """Claim a discovery; mirrors take turns.

        Args:
            after: The mirror that had the last turn; None to start with the first one.
            busy: Mirrors to skip.

        Returns:
            The mirror and the discovery; None if no mirror after that one is due.
        """
        rows = self._queue.claim(_CLAIM, {"after": after or 0, "busy": list(busy)})
        if not rows:
            return None
        mirror = organization_mirror(rows[0])
        row = mirror.row
        return mirror.id, DiscoveryClaim(mirror.id, row["lease_token"], row["attempts"], mirror)

    def extend(self, claims: Sequence[DiscoveryClaim]) -> set[UUID]:
        """Extend leases and return the tokens of those that are still held."""
        return self._queue.extend(claims)

    def give_back(self, claims: Sequence[DiscoveryClaim]) -> None:
        """Release discoveries that did not end; they can be claimed at once."""
        self._queue.give_back(claims)

    def postpone(self, claim: DiscoveryClaim, seconds: float, message: str) -> None:
        """Release a discovery until its upstream permits requests; no retry is used.

        Args:
            claim: The discovery.
            seconds: How long it waits.
            message: A text for people.
        """
        self._queue.finish(claim, _POSTPONE, {"wait": seconds, "error": message})

    def fail(self, claim: DiscoveryClaim, outcome: Outcome) -> bool:
        """End a discovery that failed; it is retried if the failure is temporary.

        Returns:
            Whether the lease was held.
        """
        row = claim.mirror.row
        values: dict[str, Any] = {
            "id": claim.id,
            "token": claim.lease_token,
            "reason": outcome.reason,
            "message": outcome.message,
            "refused": outcome.reason == AUTH_FAILED,
            "is_temporary": outcome.is_temporary,
            "wait": retry_seconds(RETRIES + 1 - row["retries_remaining"]),
            "next_at": schedule_of(row).after(row["now"]),
        }

        def transaction() -> bool:
            with self._database.transaction() as cursor:
                cursor.execute(_FAIL, values)
                held = cursor.fetchone() is not None
                if held:
                    log_outcome(cursor, claim.mirror, SYNC_FAILED, outcome.message or "")
                return held

        return retry_conflicts(transaction)

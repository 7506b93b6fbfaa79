"""The notifications that scanners sent: each is processed once, however often it is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable
from atoll.db.pool import Database
from atoll.db.transient import run_with_retries

# A large notification takes minutes to read.
LEASE_SECONDS = 600.0
_BACKOFF = Backoff(first=30.0, maximum=900.0, jitter=0.25)
# Identifiers are kept for this time after their end, in which a delivery has no effect.
_KEPT_DAYS = 30
_BATCH = 500

NOTIFICATIONS = LeasedTable("securitynotification", key="uuid", key_type="uuid")

_RECEIVE = """
INSERT INTO securitynotification (uuid) VALUES (%(uuid)s) ON CONFLICT (uuid) DO NOTHING
RETURNING uuid
"""

_CLAIM = f"""
WITH next AS MATERIALIZED (
    SELECT n.uuid FROM securitynotification n
    WHERE n.state <> 'ended' AND n.available_at <= statement_timestamp()
      AND (n.lease_expires IS NULL OR n.lease_expires <= statement_timestamp())
    ORDER BY n.available_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
), {NOTIFICATIONS.claimed}
SELECT uuid, lease_token, attempts, state FROM claimed
"""

# Ends the reading of %(id)s; precedes statements that write the notices, in one transaction.
MARK_READ = f"""
UPDATE securitynotification SET state = 'read', last_error = NULL
WHERE {NOTIFICATIONS.is_held} RETURNING uuid
"""

_END = f"""
UPDATE securitynotification SET state = 'ended', ended_at = clock_timestamp(),
    lease_token = NULL, lease_expires = NULL
WHERE {NOTIFICATIONS.is_held}
"""

_PRUNE = """
DELETE FROM securitynotification WHERE uuid IN (
    SELECT uuid FROM securitynotification
    WHERE state = 'ended' AND ended_at < now() - make_interval(days => %(days)s)
    ORDER BY ended_at LIMIT %(batch)s)
RETURNING uuid
"""


@dataclass(frozen=True)
class NotificationClaim:
    """A claimed notification.

    Attributes:
        id: The identifier that the scanner gave it.
        lease_token: The token of the lease.
        attempts: The number of attempts, including this one.
        is_read: Whether its notices are written, so that only its deletion remains.
    """

    id: UUID
    lease_token: UUID
    attempts: int
    is_read: bool


class ReceivedNotifications:
    """Stores and claims notifications."""

    def __init__(self, database: Database, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Provide the notifications.

        Args:
            database: Where they are stored.
            lease_seconds: How long a lease lasts.
        """
        self._database = database
        self._queue = LeasedQueue(
            database, NOTIFICATIONS, lease_seconds=lease_seconds, backoff=_BACKOFF
        )

    def receive(self, identifier: UUID) -> bool:
        """Store a notification, and return whether it is new.

        Raises:
            DatabaseUnavailable: It was not stored.
        """
        return bool(run_with_retries(self._database, _RECEIVE, {"uuid": identifier}))

    def claim(self) -> NotificationClaim | None:
        """Claim a notification whose processing has not ended; None if none is due."""
        for identifier, token, attempts, state in self._queue.claim(_CLAIM, {}):
            return NotificationClaim(identifier, token, attempts, state == "read")
        return None

    def end(self, claim: NotificationClaim) -> None:
        """Record that the scanner deleted a notification."""
        self._queue.finish(claim, _END)

    def retry(self, claim: NotificationClaim, reason: str) -> None:
        """Release a notification after a failed attempt.

        Args:
            claim: The notification.
            reason: The reason, for operators.
        """
        self._queue.release(claim, reason)

    def prune(self) -> bool:
        """Delete ended notifications that are too old, and return whether there may be more."""
        values = {"days": _KEPT_DAYS, "batch": _BATCH}
        return len(self._database.run(_PRUNE, values)) == _BATCH

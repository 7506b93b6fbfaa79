"""Deliver notifications from the queue that pushes write to.

A delivery is claimed with a lease on the database's clock. A failed delivery is retried with
exponential backoff and dropped after a number of attempts, which counts as a failure of its
notification, as in Quay. Namespaces take turns, so that receivers that do not respond delay the
deliveries of their own namespace only.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.db.pool import Database
from atoll.notifications.fair_dispatcher import FairDispatcher
from atoll.notifications.payloads import Payloads
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.notifications.subscriptions import CONFIG_PURPOSE, FAILURES_MAXIMUM
from atoll.outbound.errors import OutboundError

log = logging.getLogger(__name__)

DELIVERED = Counter("atoll_notifications", "Notifications by outcome", ["outcome"])

# Longer than the time-out of a request, so that leases need no renewal.
_LEASE_SECONDS = 60
_ATTEMPTS_MAXIMUM = 5
_BACKOFF_SECONDS = 10
# The maximum number of other deliveries to a receiver that one failure postpones or drops.
_BATCH = 1000
# Concurrent deliveries of one process, in total and for one namespace.
_CONCURRENT, _CONCURRENT_PER_NAMESPACE = 16, 4

# Claim the oldest due delivery of the first namespace after %(after)s that has one. A skip scan
# finds it with one index access for each namespace, regardless of the number of deliveries. Rows
# are compared, instead of namespaces and times, because only this order matches the index.
_CLAIM = """
WITH RECURSIVE namespaces (id) AS (
    (SELECT namespace_id FROM notificationdelivery WHERE namespace_id > %(after)s
     ORDER BY namespace_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.namespace_id FROM notificationdelivery d WHERE d.namespace_id > n.id
            ORDER BY d.namespace_id LIMIT 1)
    FROM namespaces n WHERE n.id IS NOT NULL
), next AS MATERIALIZED (
    SELECT due.id FROM namespaces n CROSS JOIN LATERAL (
        SELECT d.id FROM notificationdelivery d
        WHERE (d.namespace_id, d.available_at) >= (n.id, '-infinity'::timestamptz)
          AND (d.namespace_id, d.available_at) <= (n.id, statement_timestamp())
          AND (d.lease_expires IS NULL OR d.lease_expires <= statement_timestamp())
        ORDER BY d.namespace_id, d.available_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE n.id <> ALL(%(busy)s::bigint[]) LIMIT 1
), claimed AS (
    UPDATE notificationdelivery d
    SET lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM next WHERE d.id = next.id RETURNING d.*
)
SELECT c.namespace_id, c.id, c.lease_token, c.attempts, c.event_data, n.uuid, n.method, n.config,
       owner.username, r.name
FROM claimed c JOIN repositorynotification n ON n.id = c.notification_id
JOIN repository r ON r.id = n.repository_id JOIN "user" owner ON owner.id = r.namespace_user_id
"""

# Remove a delivered notification, and reset the failures of its subscription.
_DELIVERED = """
WITH delivered AS (
    DELETE FROM notificationdelivery WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING notification_id
)
UPDATE repositorynotification n SET number_of_failures = 0 FROM delivered
WHERE n.id = delivered.notification_id AND n.number_of_failures > 0
"""

# Postpone a failed delivery. The backoff applies to the receiver, so its other deliveries are
# postponed as well. Those that another process has locked are skipped, so that concurrent failures
# cannot deadlock.
_LATER = f"""
WITH failed AS (
    UPDATE notificationdelivery
    SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
        available_at = statement_timestamp() + make_interval(secs => %(wait)s)
    WHERE id = %(id)s AND lease_token = %(token)s RETURNING notification_id, available_at
), others AS (
    SELECT d.id, f.available_at FROM failed f
    JOIN notificationdelivery d ON d.notification_id = f.notification_id
    WHERE d.id <> %(id)s AND d.lease_token IS NULL AND d.available_at < f.available_at
    LIMIT {_BATCH} FOR UPDATE OF d SKIP LOCKED
)
UPDATE notificationdelivery d SET available_at = o.available_at FROM others o WHERE d.id = o.id
"""

# Drop a delivery and count the failure; the last permitted failure drops all other deliveries, too.
_GIVE_UP = f"""
WITH given_up AS (
    DELETE FROM notificationdelivery WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING notification_id
), counted AS (
    UPDATE repositorynotification n SET number_of_failures = number_of_failures + 1
    FROM given_up WHERE n.id = given_up.notification_id RETURNING n.id, n.number_of_failures
), others AS (
    SELECT d.id FROM counted c JOIN notificationdelivery d ON d.notification_id = c.id
    WHERE c.number_of_failures >= {FAILURES_MAXIMUM}
      AND d.id <> %(id)s AND d.lease_token IS NULL
    LIMIT {_BATCH} FOR UPDATE OF d SKIP LOCKED
)
DELETE FROM notificationdelivery d USING others o WHERE d.id = o.id RETURNING d.id
"""


@dataclass(frozen=True)
class Delivery:
    """The claimed delivery of one event to one receiver; `config` is encrypted."""

    id: int
    lease_token: UUID
    attempts: int
    event_data: Mapping[str, Any]
    notification: UUID
    method: str
    config: str
    namespace: str
    name: str

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of log records about the delivery."""
        return {"notification": str(self.notification), "attempts": self.attempts}


class Deliverer:
    """Delivers notifications in background threads.

    The pause after a failure is `backoff_seconds`, doubled with each further attempt.
    """

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        payloads: Payloads,
        receivers: Receivers,
        *,
        backoff_seconds: float = _BACKOFF_SECONDS,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._payloads = payloads
        self._receivers = receivers
        self._backoff_seconds = backoff_seconds
        self._dispatcher = FairDispatcher(
            "deliverer",
            self._claim,
            self._deliver,
            slots=_CONCURRENT,
            per_group=_CONCURRENT_PER_NAMESPACE,
        )

    def start(self) -> None:
        """Start delivering in the background."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Stop after finishing the running deliveries."""
        self._dispatcher.stop()

    def run_once(self) -> bool:
        """Attempt one delivery, and return whether there was one."""
        claimed = self._claim(None, [])
        if claimed is not None:
            self._deliver(claimed[1])
        return claimed is not None

    def _claim(self, after: int | None, busy: list[int]) -> tuple[int, Delivery] | None:
        """Claim the oldest delivery of the first namespace after `after` that has one."""
        rows = self._database.run(
            _CLAIM,
            {"after": -1 if after is None else after, "busy": busy, "seconds": _LEASE_SECONDS},
        )
        if not rows:
            return None
        namespace_id, *fields = rows[0]
        return namespace_id, Delivery(*fields)

    def _deliver(self, delivery: Delivery) -> None:
        """Attempt a delivery, and record the outcome."""
        if delivery.attempts > _ATTEMPTS_MAXIMUM:
            # Earlier attempts ended without recording an outcome, for example with the process.
            self._give_up(delivery)
            return
        try:
            self._send(delivery)
        except (OutboundError, NotReceived, SecretUnreadable) as error:
            log.warning(
                "notification delivery failed", extra={**delivery.log_fields, "cause": str(error)}
            )
            self._failed(delivery, str(error))
        except Exception as error:
            # A delivery that triggers a bug must not be retried indefinitely.
            log.exception("unhandled exception", extra=delivery.log_fields)
            self._failed(delivery, f"{type(error).__name__}: {error}")
        else:
            self._database.run(_DELIVERED, {"id": delivery.id, "token": delivery.lease_token})
            DELIVERED.labels("delivered").inc()
            log.info("notification delivered", extra=delivery.log_fields)

    def _send(self, delivery: Delivery) -> None:
        config = json.loads(self._cipher.decrypt(delivery.config, CONFIG_PURPOSE))
        payload = self._payloads.build(
            delivery.method, delivery.namespace, delivery.name, delivery.event_data
        )
        self._receivers.post(config["url"], payload)

    def _failed(self, delivery: Delivery, error: str) -> None:
        if delivery.attempts >= _ATTEMPTS_MAXIMUM:
            self._give_up(delivery)
            return
        DELIVERED.labels("failed").inc()
        self._database.run(
            _LATER,
            {
                "id": delivery.id,
                "token": delivery.lease_token,
                # Text in PostgreSQL cannot contain NUL.
                "error": error[:1000].replace("\0", ""),
                "wait": self._backoff_seconds * 2 ** (delivery.attempts - 1),
            },
        )

    def _give_up(self, delivery: Delivery) -> None:
        DELIVERED.labels("given up").inc()
        dropped = self._database.run(_GIVE_UP, {"id": delivery.id, "token": delivery.lease_token})
        if dropped:
            DELIVERED.labels("dropped").inc(len(dropped))
            log.warning(
                "notification disabled after repeated failures",
                extra={**delivery.log_fields, "dropped": len(dropped)},
            )

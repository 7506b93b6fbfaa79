"""Deliver notifications from the table that pushes write to.

A delivery is claimed with a lease on the database's clock. A failed one is retried with a growing
back-off and given up after some attempts, which counts as a failure of its notification, as in
Quay. Namespaces take turns, so that one with receivers that do not answer delays itself only.
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
from atoll.notifications.messages import Messages
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.notifications.subscriptions import CONFIG_PURPOSE, FAILURES_MAXIMUM
from atoll.outbound.errors import OutboundError

log = logging.getLogger(__name__)

DELIVERED = Counter("atoll_notifications", "Notifications, by what became of them", ["outcome"])

# Longer than a request may take, so that a lease need not be extended.
_LEASE_SECONDS = 60
_ATTEMPTS_MAXIMUM = 5
_BACKOFF_SECONDS = 10
# Further deliveries to one receiver that a failure may postpone or drop.
_BATCH = 1000
# Deliveries of one process at the same time, and how many of them for one namespace.
_AT_ONCE, _AT_ONCE_PER_NAMESPACE = 16, 4

# The first namespace after %(after)s with a delivery that is due, found by a skip scan: one look at
# the index for each namespace, however many deliveries it has. Rows are compared, instead of
# namespaces and times, because that order exists in this index only.
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

_DELIVERED = """
WITH delivered AS (
    DELETE FROM notificationdelivery WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING notification_id
)
UPDATE repositorynotification n SET number_of_failures = 0 FROM delivered
WHERE n.id = delivered.notification_id AND n.number_of_failures > 0
"""

# The back-off holds for the receiver: its other deliveries wait as long. Those that another process
# works on are skipped, so that two failures at the same time cannot deadlock.
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

# With the last failure that a notification may have, its other deliveries are dropped.
_GIVEN_UP = f"""
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
    """A notification of one event for one receiver. CONFIG is encrypted."""

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
        """What log records about it have in common."""
        return {"notification": str(self.notification), "attempts": self.attempts}


class Deliverer:
    """Delivers notifications in background threads. BACKOFF_SECONDS doubles with each attempt."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        messages: Messages,
        receivers: Receivers,
        *,
        backoff_seconds: float = _BACKOFF_SECONDS,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._messages = messages
        self._receivers = receivers
        self._backoff_seconds = backoff_seconds
        self._dispatcher = FairDispatcher(
            "deliverer",
            self._claim,
            self._deliver,
            slots=_AT_ONCE,
            per_group=_AT_ONCE_PER_NAMESPACE,
        )

    def start(self) -> None:
        """Start to deliver."""
        self._dispatcher.start()

    def stop(self) -> None:
        """Finish the deliveries under way, and stop."""
        self._dispatcher.stop()

    def run_once(self) -> bool:
        """Attempt one delivery, and return whether there was one."""
        claimed = self._claim(None, [])
        if claimed is not None:
            self._deliver(claimed[1])
        return claimed is not None

    def _claim(self, after: int | None, busy: list[int]) -> tuple[int, Delivery] | None:
        """Claim the oldest delivery of the first namespace after AFTER that has one."""
        rows = self._database.run(
            _CLAIM,
            {"after": -1 if after is None else after, "busy": busy, "seconds": _LEASE_SECONDS},
        )
        if not rows:
            return None
        namespace_id, *fields = rows[0]
        return namespace_id, Delivery(*fields)

    def _deliver(self, delivery: Delivery) -> None:
        """Attempt a delivery, and record what came of it."""
        if delivery.attempts > _ATTEMPTS_MAXIMUM:
            # Earlier attempts ended without a record, for instance with the process.
            self._give_up(delivery)
            return
        try:
            self._send(delivery)
        except (OutboundError, NotReceived, SecretUnreadable) as error:
            log.warning(
                "notification not delivered", extra={**delivery.log_fields, "cause": str(error)}
            )
            self._failed(delivery, str(error))
        except Exception as error:
            # A bug that this delivery meets must not have it tried again indefinitely.
            log.exception("unhandled exception in a delivery", extra=delivery.log_fields)
            self._failed(delivery, f"{type(error).__name__}: {error}")
        else:
            self._database.run(_DELIVERED, {"id": delivery.id, "token": delivery.lease_token})
            DELIVERED.labels("delivered").inc()
            log.info("notification delivered", extra=delivery.log_fields)

    def _send(self, delivery: Delivery) -> None:
        config = json.loads(self._cipher.decrypt(delivery.config, CONFIG_PURPOSE))
        document = self._messages.document(
            delivery.method, delivery.namespace, delivery.name, delivery.event_data
        )
        self._receivers.post(config["url"], document)

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
                # PostgreSQL's text holds any character but this one.
                "error": error[:1000].replace("\0", ""),
                "wait": self._backoff_seconds * 2 ** (delivery.attempts - 1),
            },
        )

    def _give_up(self, delivery: Delivery) -> None:
        DELIVERED.labels("given up").inc()
        dropped = self._database.run(_GIVEN_UP, {"id": delivery.id, "token": delivery.lease_token})
        if dropped:
            DELIVERED.labels("dropped").inc(len(dropped))
            log.warning(
                "notification disabled after repeated failures",
                extra={**delivery.log_fields, "dropped": len(dropped)},
            )

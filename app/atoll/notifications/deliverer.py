"""Deliver notifications to their receivers: other servers, mailboxes, or users of the API.

Pushes write deliveries to a queue. A failed delivery is retried with a growing back-off and given
up after some attempts, which counts as one failure of its notification, as in Quay. Namespaces take
turns, so that receivers that do not respond delay only their own namespace.
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
from atoll.db.leased_queue import Backoff, LeasedQueue, LeasedTable, unleased
from atoll.db.pool import Database
from atoll.db.queue_worker import QueueWorker
from atoll.notifications.mailer import Mailer, NotMailed
from atoll.notifications.notices import Notices, Target
from atoll.notifications.payloads import Payloads
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.notifications.subscriptions import (
    CONFIG_PURPOSE,
    EMAIL,
    FAILURES_MAXIMUM,
    QUAY_NOTIFICATION,
)
from atoll.outbound.errors import OutboundError

log = logging.getLogger(__name__)

DELIVERED = Counter("atoll_notifications", "Notifications by outcome", ["outcome"])

# Longer than a request may take, so that leases need not be extended.
_LEASE_SECONDS = 60
_ATTEMPTS_MAXIMUM = 5
_BACKOFF_SECONDS = 10
_BACKOFF_MAXIMUM_SECONDS = 3600
# Further deliveries to one receiver that a failure may postpone or drop.
_BATCH = 1000
# Concurrent deliveries of one process, and for one namespace.
_CONCURRENT, _CONCURRENT_PER_NAMESPACE = 16, 4

_TABLE = LeasedTable("notificationdelivery")

# Claims a delivery of the first namespace after %(after)s that has one due. Namespaces are found by
# a skip scan: one index look-up for each, however many deliveries it has. Pairs are compared,
# instead of namespaces and times, because only this index has their order.
_CLAIM = f"""
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
          AND {unleased("d", "statement_timestamp()")}
        ORDER BY d.namespace_id, d.available_at, d.id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) due
    WHERE n.id <> ALL(%(busy)s::bigint[]) LIMIT 1
), {_TABLE.claimed}
SELECT c.namespace_id, c.id, c.lease_token, c.attempts, c.event_data, n.uuid, n.event, n.method,
       n.config, owner.username, r.name
FROM claimed c JOIN repositorynotification n ON n.id = c.notification_id
JOIN repository r ON r.id = n.repository_id JOIN "user" owner ON owner.id = r.namespace_user_id
"""

_DELIVERED = f"""
WITH delivered AS (
    {_TABLE.delete}
    RETURNING notification_id
)
UPDATE repositorynotification n SET number_of_failures = 0 FROM delivered
WHERE n.id = delivered.notification_id AND n.number_of_failures > 0
"""

# The back-off applies to the receiver: its other deliveries wait as long. Deliveries in progress in
# other processes are skipped, so that concurrent failures cannot deadlock.
_RELEASE = f"""
WITH failed AS ({_TABLE.release}
    RETURNING notification_id, available_at
), others AS (
    SELECT d.id, f.available_at FROM failed f
    JOIN notificationdelivery d ON d.notification_id = f.notification_id
    WHERE d.id <> %(id)s AND d.lease_token IS NULL AND d.available_at < f.available_at
    LIMIT {_BATCH} FOR UPDATE OF d SKIP LOCKED
)
UPDATE notificationdelivery d SET available_at = o.available_at FROM others o WHERE d.id = o.id
"""

# The last failure that a notification may have also drops its other deliveries.
_GIVEN_UP = f"""
WITH given_up AS (
    {_TABLE.delete}
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
    """A claimed delivery of one event to one receiver; `config` is encrypted."""

    id: int
    lease_token: UUID
    attempts: int
    event_data: Mapping[str, Any]
    notification: UUID
    event: str
    method: str
    config: str
    namespace: str
    name: str

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of log records about this delivery."""
        return {"notification": str(self.notification), "attempts": self.attempts}


class Deliverer(QueueWorker[int, Delivery]):
    """Delivers notifications in background threads."""

    job_name = "notification delivery"
    expected = (OutboundError, NotReceived, NotMailed, SecretUnreadable)
    attempts_maximum = _ATTEMPTS_MAXIMUM

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        payloads: Payloads,
        receivers: Receivers,
        mailer: Mailer,
        *,
        backoff_seconds: float = _BACKOFF_SECONDS,
    ) -> None:
        """Make the deliverer.

        Args:
            database: where the queue is.
            cipher: decrypts the receivers' configuration.
            payloads: builds documents for receivers.
            receivers: sends documents.
            mailer: sends e-mail.
            backoff_seconds: pause after the first attempt, which doubles with each attempt.
        """
        super().__init__("deliverer", slots=_CONCURRENT, per_group=_CONCURRENT_PER_NAMESPACE)
        self._queue = LeasedQueue(
            database,
            _TABLE,
            lease_seconds=_LEASE_SECONDS,
            backoff=Backoff(backoff_seconds, _BACKOFF_MAXIMUM_SECONDS),
        )
        self._cipher = cipher
        self._payloads = payloads
        self._receivers = receivers
        self._mailer = mailer
        self._notices = Notices(database)

    def _claim(self, after: int | None, busy: list[int]) -> tuple[int, Delivery] | None:
        """Claim the oldest delivery of the first namespace after `after` that has one."""
        values = {"after": -1 if after is None else after, "busy": busy}
        rows = self._queue.claim(_CLAIM, values)
        if not rows:
            return None
        namespace_id, *fields = rows[0]
        return namespace_id, Delivery(*fields)

    def _attempt(self, job: Delivery) -> None:
        """Send the document.

        Raises:
            OutboundError, NotReceived, NotMailed, SecretUnreadable: it could not be sent.
        """
        config = json.loads(self._cipher.decrypt(job.config, CONFIG_PURPOSE))
        repository = (job.namespace, job.name)
        if job.method == EMAIL:
            subject, text = self._payloads.mail(job.event, *repository, job.event_data)
            self._mailer.send(config["email"], subject, text)
            return
        payload = self._payloads.build(job.event, job.method, *repository, job.event_data)
        if job.method == QUAY_NOTIFICATION:
            target = Target(**config["target"])
            self._notices.add(
                job.id,
                job.notification,
                job.namespace,
                target,
                event=job.event,
                payload=payload,
            )
        else:
            self._receivers.post(config["url"], payload)

    def _succeeded(self, job: Delivery) -> None:
        self._queue.finish(job, _DELIVERED)
        DELIVERED.labels("delivered").inc()
        log.info("notification delivered", extra=job.log_fields)

    def _release(self, job: Delivery, error: str) -> None:
        DELIVERED.labels("failed").inc()
        self._queue.release(job, error, statement=_RELEASE)

    def _abandon(self, job: Delivery, error: str | None) -> None:
        del error
        DELIVERED.labels("given up").inc()
        dropped = self._queue.finish(job, _GIVEN_UP)
        if dropped:
            DELIVERED.labels("dropped").inc(len(dropped))
            log.warning(
                "notification disabled after repeated failures",
                extra={**job.log_fields, "dropped": len(dropped)},
            )

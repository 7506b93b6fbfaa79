"""Tell receivers what is still to be told, from the table that pushes write to.

A delivery is claimed with a lease on the database's clock. What fails is tried again, later each
time, and given up after some attempts; then the notification's failures are counted, as in Quay.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.notifications.messages import Messages
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.notifications.subscriptions import CONFIG_PURPOSE
from atoll.outbound.errors import OutboundError

log = logging.getLogger(__name__)

DELIVERED = Counter("atoll_notifications", "Notifications, by what became of them", ["outcome"])

# Longer than a receiver is waited for, so that a lease need not be extended.
_LEASE_SECONDS = 60
_ATTEMPTS_MAXIMUM = 5
_BACKOFF_SECONDS = 10
# Receivers that do not answer hold a thread each for some seconds, and no more than these.
_THREADS = 4
_POLL_SECONDS = 1.0

_CLAIM = """
WITH next AS (
    SELECT id FROM notificationdelivery
    WHERE available_at <= clock_timestamp()
      AND (lease_expires IS NULL OR lease_expires <= clock_timestamp())
    ORDER BY available_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE notificationdelivery d
    SET lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM next WHERE d.id = next.id RETURNING d.*
)
SELECT c.id, c.lease_token, c.attempts, c.event_data, n.uuid, n.method, n.config,
       owner.username, r.name
FROM claimed c JOIN repositorynotification n ON n.id = c.notification_id
JOIN repository r ON r.id = n.repository_id JOIN "user" owner ON owner.id = r.namespace_user_id
"""

_TOLD = """
WITH told AS (
    DELETE FROM notificationdelivery WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING notification_id
)
UPDATE repositorynotification n SET number_of_failures = 0 FROM told
WHERE n.id = told.notification_id AND n.number_of_failures > 0
"""

_LATER = """
UPDATE notificationdelivery
SET lease_token = NULL, lease_expires = NULL, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE id = %(id)s AND lease_token = %(token)s
"""

_GIVEN_UP = """
WITH given_up AS (
    DELETE FROM notificationdelivery WHERE id = %(id)s AND lease_token = %(token)s
    RETURNING notification_id
)
UPDATE repositorynotification n SET number_of_failures = number_of_failures + 1 FROM given_up
WHERE n.id = given_up.notification_id
"""


@dataclass(frozen=True)
class Delivery:
    """One thing to tell one receiver. CONFIG is encrypted."""

    id: int
    lease_token: UUID
    attempts: int
    event_data: Mapping[str, Any]
    notification: UUID
    method: str
    config: str
    namespace: str
    name: str


class Deliverer:
    """Tells receivers, in threads of its own. BACKOFF_SECONDS doubles with each attempt."""

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
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to deliver."""
        for number in range(_THREADS):
            thread = threading.Thread(
                target=self._deliver_for_ever, name=f"deliverer-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what is in hand, and end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def run_once(self) -> bool:
        """Do the delivery that has waited longest; False if there is none."""
        rows = self._database.run(_CLAIM, {"seconds": _LEASE_SECONDS})
        if not rows:
            return False
        delivery = Delivery(*rows[0])
        fields = {"notification": str(delivery.notification), "attempts": delivery.attempts}
        try:
            config = json.loads(self._cipher.decrypt(delivery.config, CONFIG_PURPOSE))
            document = self._messages.document(
                delivery.method, delivery.namespace, delivery.name, delivery.event_data
            )
            self._receivers.post(config["url"], document)
        except (OutboundError, NotReceived, SecretUnreadable) as error:
            log.warning("notification not delivered", extra={**fields, "cause": str(error)})
            self._failed(delivery, str(error))
        except DatabaseUnavailable:
            # No fault of this delivery: it is claimed again when its lease has expired.
            raise
        except Exception as error:
            # A bug that this delivery meets must not have it tried again indefinitely.
            log.exception("unhandled exception in a delivery", extra=fields)
            self._failed(delivery, f"{type(error).__name__}: {error}")
        else:
            self._database.run(_TOLD, {"id": delivery.id, "token": delivery.lease_token})
            DELIVERED.labels("delivered").inc()
            log.info("notification delivered", extra=fields)
        return True

    def _failed(self, delivery: Delivery, error: str) -> None:
        values: dict[str, object] = {"id": delivery.id, "token": delivery.lease_token}
        if delivery.attempts >= _ATTEMPTS_MAXIMUM:
            DELIVERED.labels("given up").inc()
            self._database.run(_GIVEN_UP, values)
            return
        DELIVERED.labels("failed").inc()
        wait = self._backoff_seconds * 2 ** (delivery.attempts - 1)
        self._database.run(_LATER, {**values, "error": error[:1000], "wait": wait})

    def _deliver_for_ever(self) -> None:
        while not self._stop.is_set():
            if not self._turn():
                self._stop.wait(_POLL_SECONDS)

    def _turn(self) -> bool:
        """Do one delivery if there is one, and survive any error."""
        try:
            return self.run_once()
        except DatabaseUnavailable as error:
            log.warning("database unavailable", extra={"cause": str(error)})
        except Exception:
            # An error in one delivery must not end the thread that would do all the others.
            log.exception("unhandled exception while delivering notifications")
        return False

"""Subscriptions to the events of repositories, which Quay's API calls notifications."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from atoll.auth.secrets import Cipher
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.notifications.events import EVENTS, REPO_PUSH

WEBHOOK, SLACK, QUAY_NOTIFICATION, EMAIL = "webhook", "slack", "quay_notification", "email"
CONFIG_PURPOSE = "notification"
# As in Quay, a notification is disabled after this many failed deliveries until it is reset.
FAILURES_MAXIMUM = 3
# The maximum number of notifications of a repository, and seconds between tests of a notification.
NOTIFICATIONS_MAXIMUM = 20
TEST_PAUSE_SECONDS = 10

_REPOSITORY_ID = """(SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
                  WHERE n.username = %(namespace)s AND r.name = %(name)s)"""
_COLUMNS = "uuid, event, method, title, config, event_config, number_of_failures"

# Enqueue a delivery for each subscription to pushes, in the transaction of the push. Parameters:
# %(repository_id)s and %(tags)s. A push by digest alone causes no notification. Subscriptions are
# locked, so that one that is deleted meanwhile is left out instead of violating the foreign key.
ENQUEUE_PUSH_NOTIFICATIONS = f"""
INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)
SELECT n.id, r.namespace_user_id, jsonb_build_object('updated_tags', to_jsonb(%(tags)s::text[]))
FROM repositorynotification n JOIN repository r ON r.id = n.repository_id
WHERE n.repository_id = %(repository_id)s AND n.event = '{REPO_PUSH.name}'
  AND n.number_of_failures < {FAILURES_MAXIMUM} AND cardinality(%(tags)s::text[]) > 0
FOR KEY SHARE OF n
"""

# Enqueue a delivery for each subscription to an event, in the transaction of the event. Parameters:
# %(repository_id)s, %(event)s and its fields %(event_data)s.
ENQUEUE_NOTIFICATIONS = f"""
INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)
SELECT n.id, r.namespace_user_id, %(event_data)s
FROM repositorynotification n JOIN repository r ON r.id = n.repository_id
WHERE n.repository_id = %(repository_id)s AND n.event = %(event)s
  AND n.number_of_failures < {FAILURES_MAXIMUM}
FOR KEY SHARE OF n
"""

_SAMPLES = json.dumps({name: event.sample for name, event in EVENTS.items()})


class NotificationUnknown(Exception):
    """The repository has no such notification."""


class InvalidReceiver(Exception):
    """A notification cannot be sent to the receiver in its configuration."""


class TooManyNotifications(Exception):
    """The repository has the maximum number of notifications."""

    def __init__(self, repository: RepositoryName) -> None:
        super().__init__(
            f"'{repository}' has the maximum of {NOTIFICATIONS_MAXIMUM} notifications; delete one"
            " first"
        )


class TooManyTests(Exception):
    """A notification was tested a moment ago; clients may retry after `seconds`."""

    seconds = TEST_PAUSE_SECONDS

    def __init__(self) -> None:
        super().__init__(
            f"this notification was tested less than {TEST_PAUSE_SECONDS} seconds ago; try again"
            " later"
        )


@dataclass(frozen=True)
class Notification:
    """A subscription to an event, with the method and the receiver in `config`."""

    uuid: UUID
    event: str
    method: str
    title: str | None
    config: Mapping[str, Any]
    event_config: Mapping[str, Any]
    number_of_failures: int


class Notifications:
    """The notifications of all repositories."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    def create(
        self,
        repository: RepositoryName,
        event: str,
        method: str,
        *,
        title: str | None,
        config: Mapping[str, Any],
        event_config: Mapping[str, Any],
        creator_id: int | None = None,
    ) -> Notification:
        """Create a notification.

        Args:
            repository: The repository.
            event: The name of the event.
            method: The name of the method.
            title: A text for people.
            config: The configuration of the method.
            event_config: The configuration of the event.
            creator_id: The user who creates it; None if it is not known.

        Raises:
            NotificationUnknown: There is no such repository.
            TooManyNotifications: The repository has the maximum number of notifications.
        """
        rows = self._database.run(
            f"""
            INSERT INTO repositorynotification
                (repository_id, event, method, title, config, event_config, creator_id)
            SELECT repository.id, %(event)s, %(method)s, %(title)s, %(config)s, %(event_config)s,
                   %(creator_id)s
            FROM (SELECT {_REPOSITORY_ID} AS id) AS repository WHERE repository.id IS NOT NULL
              AND (SELECT count(*) FROM repositorynotification
                   WHERE repository_id = repository.id) < %(maximum)s
            RETURNING {_COLUMNS}
            """,
            {
                **_names(repository),
                "event": event,
                "method": method,
                "title": title,
                "config": self._cipher.encrypt(json.dumps(dict(config)), CONFIG_PURPOSE),
                "event_config": json.dumps(dict(event_config)),
                "creator_id": creator_id,
                "maximum": NOTIFICATIONS_MAXIMUM,
            },
        )
        if not rows:
            if self.list(repository):
                raise TooManyNotifications(repository)
            raise NotificationUnknown(f"there is no repository '{repository}'")
        return self._notification(rows[0])

    def get(self, repository: RepositoryName, uuid: UUID) -> Notification:
        """Return a notification.

        Raises:
            NotificationUnknown: The repository has no such notification.
        """
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY_ID} AND uuid = %(uuid)s",
            {**_names(repository), "uuid": uuid},
        )
        if not rows:
            raise _unknown(repository, uuid)
        return self._notification(rows[0])

    def delete(self, repository: RepositoryName, uuid: UUID) -> None:
        """Delete a notification.

        Raises:
            NotificationUnknown: The repository has no such notification.
        """
        self._change(
            f"DELETE FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY_ID} AND uuid = %(uuid)s RETURNING id",
            repository,
            uuid,
        )

    def reset_failures(self, repository: RepositoryName, uuid: UUID) -> None:
        """Reset the failures of a notification, which enables it again.

        Raises:
            NotificationUnknown: The repository has no such notification.
        """
        self._change(
            f"UPDATE repositorynotification SET number_of_failures = 0"
            f" WHERE repository_id = {_REPOSITORY_ID} AND uuid = %(uuid)s RETURNING id",
            repository,
            uuid,
        )

    def test(self, repository: RepositoryName, uuid: UUID) -> None:
        """Send a notification of a sample event.

        Raises:
            NotificationUnknown: The repository has no such notification.
            TooManyTests: The notification was tested a moment ago.
        """
        rows = self._database.run(
            f"""
            WITH tested AS (
                UPDATE repositorynotification SET tested_at = clock_timestamp()
                WHERE repository_id = {_REPOSITORY_ID} AND uuid = %(uuid)s
                  AND (tested_at IS NULL
                       OR tested_at < clock_timestamp() - make_interval(secs => %(pause)s))
                RETURNING id, repository_id, event
            )
            INSERT INTO notificationdelivery (notification_id, namespace_id, event_data)
            SELECT t.id, r.namespace_user_id, %(samples)s::jsonb -> t.event
            FROM tested t JOIN repository r ON r.id = t.repository_id RETURNING id
            """,
            {
                **_names(repository),
                "uuid": uuid,
                "pause": TEST_PAUSE_SECONDS,
                "samples": _SAMPLES,
            },
        )
        if not rows:
            self.get(repository, uuid)
            raise TooManyTests

    def list(self, repository: RepositoryName) -> list[Notification]:
        """Return all notifications of a repository, oldest first."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY_ID} ORDER BY id",
            _names(repository),
        )
        return [self._notification(row) for row in rows]

    def _change(self, statement: str, repository: RepositoryName, uuid: UUID) -> None:
        if not self._database.run(statement, {**_names(repository), "uuid": uuid}):
            raise _unknown(repository, uuid)

    def _notification(
        self, row: tuple[UUID, str, str, str | None, str, dict[str, Any], int]
    ) -> Notification:
        uuid, event, method, title, config, event_config, failures = row
        decrypted = json.loads(self._cipher.decrypt(config, CONFIG_PURPOSE))
        return Notification(uuid, event, method, title, decrypted, event_config, failures)


def _names(repository: RepositoryName) -> dict[str, str]:
    return {"namespace": repository.namespace, "name": repository.name}


def _unknown(repository: RepositoryName, uuid: UUID) -> NotificationUnknown:
    return NotificationUnknown(f"'{repository}' has no notification {uuid}")

"""Who is to be told of what in a repository. Quay calls one of these a notification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from atoll.auth.secrets import Cipher
from atoll.db.pool import Database
from atoll.names import RepositoryName

REPO_PUSH = "repo_push"
WEBHOOK, SLACK = "webhook", "slack"
CONFIG_PURPOSE = "notification"
# As in Quay: after so many deliveries that were given up, nothing more is told until a reset.
FAILURES_MAXIMUM = 3

_REPOSITORY = """(SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
                  WHERE n.username = %(namespace)s AND r.name = %(name)s)"""
_COLUMNS = "uuid, event, method, title, config, event_config, number_of_failures"

# For the transaction of a push: takes %(repository_id)s and %(tags)s. A push by digest alone has
# nothing to tell.
TELL_OF_PUSH = f"""
INSERT INTO notificationdelivery (notification_id, event_data)
SELECT n.id, jsonb_build_object('updated_tags', to_jsonb(%(tags)s::text[]))
FROM repositorynotification n
WHERE n.repository_id = %(repository_id)s AND n.event = '{REPO_PUSH}'
  AND n.number_of_failures < {FAILURES_MAXIMUM} AND cardinality(%(tags)s::text[]) > 0
"""


class NotificationUnknown(Exception):
    """The repository has no such notification."""


@dataclass(frozen=True)
class Notification:
    """Somebody who is to be told: of which EVENT, by which METHOD, and where (CONFIG)."""

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
    ) -> Notification:
        """Let somebody be told from now on, or raise NotificationUnknown: no such repository."""
        rows = self._database.run(
            f"""
            INSERT INTO repositorynotification
                (repository_id, event, method, title, config, event_config)
            SELECT repository.id, %(event)s, %(method)s, %(title)s, %(config)s, %(event_config)s
            FROM (SELECT {_REPOSITORY} AS id) AS repository WHERE repository.id IS NOT NULL
            RETURNING {_COLUMNS}
            """,
            {
                **_names(repository),
                "event": event,
                "method": method,
                "title": title,
                "config": self._cipher.encrypt(json.dumps(dict(config)), CONFIG_PURPOSE),
                "event_config": json.dumps(dict(event_config)),
            },
        )
        if not rows:
            raise NotificationUnknown(f"there is no repository '{repository}'")
        return self._notification(rows[0])

    def get(self, repository: RepositoryName, uuid: UUID) -> Notification:
        """Return one, or raise NotificationUnknown."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY} AND uuid = %(uuid)s",
            {**_names(repository), "uuid": uuid},
        )
        if not rows:
            raise _unknown(repository, uuid)
        return self._notification(rows[0])

    def delete(self, repository: RepositoryName, uuid: UUID) -> None:
        """Let somebody be told no more, or raise NotificationUnknown."""
        self._change(
            f"DELETE FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY} AND uuid = %(uuid)s RETURNING id",
            repository,
            uuid,
        )

    def reset_failures(self, repository: RepositoryName, uuid: UUID) -> None:
        """Begin to tell somebody again who could not be told, or raise NotificationUnknown."""
        self._change(
            f"UPDATE repositorynotification SET number_of_failures = 0"
            f" WHERE repository_id = {_REPOSITORY} AND uuid = %(uuid)s RETURNING id",
            repository,
            uuid,
        )

    def test(self, repository: RepositoryName, uuid: UUID) -> None:
        """Tell somebody of an event that did not happen, or raise NotificationUnknown."""
        self._change(
            f"""
            INSERT INTO notificationdelivery (notification_id, event_data)
            SELECT id, '{{"updated_tags": ["latest"]}}' FROM repositorynotification
            WHERE repository_id = {_REPOSITORY} AND uuid = %(uuid)s RETURNING id
            """,
            repository,
            uuid,
        )

    def list(self, repository: RepositoryName) -> list[Notification]:
        """Return all of a repository, oldest first."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM repositorynotification"
            f" WHERE repository_id = {_REPOSITORY} ORDER BY id",
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
        clear = json.loads(self._cipher.decrypt(config, CONFIG_PURPOSE))
        return Notification(uuid, event, method, title, clear, event_config, failures)


def _names(repository: RepositoryName) -> dict[str, str]:
    return {"namespace": repository.namespace, "name": repository.name}


def _unknown(repository: RepositoryName, uuid: UUID) -> NotificationUnknown:
    return NotificationUnknown(f"'{repository}' has no notification {uuid}")

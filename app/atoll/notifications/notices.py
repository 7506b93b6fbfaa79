"""Notices: notifications that users read in the API, which Quay calls `quay_notification`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.notifications.subscriptions import InvalidReceiver

USER, ORGANIZATION, TEAM = "user", "org", "team"

# The number of notices of one subscription that are kept for a user or an organization. There is no
# common maximum, so that one subscription cannot displace the notices of another.
NOTICES_MAXIMUM = 100

# The accounts that a target refers to. A team and an organization are those of the repository. A
# user is the owner or a member of the namespace, or chose to be notified: nobody else can be made
# to get notices.
_TARGETS = f"""
SELECT u.id FROM "user" u
WHERE u.username = %(target)s AND u.robot_owner_id IS NULL
  AND CASE %(kind)s WHEN '{USER}' THEN NOT u.organization AND (
                        u.username = %(namespace)s OR u.id = {{creator}}
                        OR EXISTS (SELECT FROM team t JOIN "user" o ON o.id = t.organization_id
                                   JOIN teammember m ON m.team_id = t.id
                                   WHERE o.username = %(namespace)s AND m.user_id = u.id))
                    WHEN '{ORGANIZATION}' THEN u.organization AND u.username = %(namespace)s
                    ELSE false END
UNION
SELECT u.id FROM team t
JOIN "user" o ON o.id = t.organization_id
JOIN teammember m ON m.team_id = t.id
JOIN "user" u ON u.id = m.user_id
WHERE %(kind)s = '{TEAM}' AND o.username = %(namespace)s AND t.name = %(target)s
  AND u.robot_owner_id IS NULL
"""

# A team may be without members.
_EXISTS = f"""
SELECT EXISTS ({_TARGETS.format(creator="%(creator_id)s")})
    OR (%(kind)s = '{TEAM}' AND EXISTS (
        SELECT FROM team t JOIN "user" o ON o.id = t.organization_id
        WHERE o.username = %(namespace)s AND t.name = %(target)s))
"""

# Add a notice for each account, and delete the oldest ones of the subscription of accounts that
# have too many. The second statement sees the rows of the first.
_ADD = f"""
INSERT INTO notification (kind, target_id, metadata, delivery_id, source_id)
SELECT %(event)s, target.id, %(metadata)s, %(delivery_id)s, source.id
FROM repositorynotification source
CROSS JOIN LATERAL ({_TARGETS.format(creator="source.creator_id")}) AS target
WHERE source.uuid = %(source)s
ON CONFLICT (target_id, delivery_id) DO NOTHING;
DELETE FROM notification n USING (
    SELECT id, source_id, row_number() OVER (PARTITION BY target_id ORDER BY id DESC) AS number
    FROM notification
    WHERE source_id = (SELECT id FROM repositorynotification WHERE uuid = %(source)s)
) AS kept
WHERE n.id = kept.id AND kept.number > {NOTICES_MAXIMUM}
"""

# Users read their own notices and those of organizations that they administer.
_VISIBLE = """
n.target_id IN (
    SELECT %(user_id)s UNION
    SELECT t.organization_id FROM team t JOIN teammember m ON m.team_id = t.id
    WHERE m.user_id = %(user_id)s AND t.role = 'admin')
"""
_COLUMNS = """
n.uuid, CASE WHEN u.organization THEN u.username END, n.kind, n.created_at, n.metadata, n.dismissed
"""

_LIST = f"""
SELECT {_COLUMNS} FROM notification n JOIN "user" u ON u.id = n.target_id
WHERE {_VISIBLE} AND NOT n.dismissed ORDER BY n.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""
_GET = f"""
SELECT {_COLUMNS} FROM notification n JOIN "user" u ON u.id = n.target_id
WHERE {_VISIBLE} AND n.uuid = %(uuid)s
"""
_DISMISS = f"""
UPDATE notification n SET dismissed = %(dismissed)s FROM "user" u
WHERE u.id = n.target_id AND {_VISIBLE} AND n.uuid = %(uuid)s RETURNING {_COLUMNS}
"""


class NoticeUnknown(Exception):
    """There is no such notice, or it is not the user's."""

    def __init__(self, uuid: UUID) -> None:
        super().__init__(f"there is no notification {uuid}")


@dataclass(frozen=True)
class Target:
    """Who gets a notice.

    Attributes:
        kind: USER, ORGANIZATION or TEAM.
        name: The name; that of a team is one in the repository's organization.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Notice:
    """A notice. `organization` is the one that it was sent to, None for a user."""

    uuid: UUID
    organization: str | None
    kind: str
    created_at: datetime
    metadata: Mapping[str, Any]
    dismissed: bool


class Notices:
    """The notices of all users and organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, repository: RepositoryName, target: Target, creator_id: int | None) -> None:
        """Check that a repository may send notices to a target.

        Args:
            repository: The repository.
            target: The target.
            creator_id: The user who creates the notification; None if it is not known.

        Raises:
            InvalidReceiver: The target does not exist, is another organization, or is another user
                without membership in the namespace.
        """
        values = {**_parameters(repository.namespace, target), "creator_id": creator_id}
        if not self._database.read(_EXISTS, values)[0][0]:
            raise InvalidReceiver(
                f"there is no {target.kind} '{target.name}' that '{repository}' can notify; name"
                " yourself, a member of the namespace, the organization of the repository, or one"
                " of its teams"
            )

    def add(
        self,
        delivery_id: int,
        source: UUID,
        namespace: str,
        target: Target,
        *,
        event: str,
        payload: Mapping[str, Any],
    ) -> None:
        """Add a notice for each account of a target, once for each delivery.

        Args:
            delivery_id: The delivery.
            source: The subscription.
            namespace: The namespace of the repository.
            target: The target; there is no notice if it was deleted, or left the namespace.
            event: The name of the event.
            payload: The document that describes it.
        """
        values = {
            **_parameters(namespace, target),
            "event": event,
            "metadata": json.dumps(dict(payload)),
            "delivery_id": delivery_id,
            "source": source,
        }
        self._database.run(_ADD, values)

    def list(self, user_id: int, page: int, limit: int) -> tuple[list[Notice], bool]:
        """Return a page of a user's notices that are not dismissed, newest first.

        Args:
            user_id: The user.
            page: The number of the page, from 0.
            limit: The size of a page.

        Returns:
            The notices, and whether there are more.
        """
        rows = self._database.read(
            _LIST, {"user_id": user_id, "limit": limit + 1, "offset": page * limit}
        )
        return [Notice(*row) for row in rows[:limit]], len(rows) > limit

    def get(self, user_id: int, uuid: UUID) -> Notice:
        """Return a notice of a user.

        Raises:
            NoticeUnknown: The user has no such notice.
        """
        return _only(self._database.read(_GET, {"user_id": user_id, "uuid": uuid}), uuid)

    def dismiss(self, user_id: int, uuid: UUID, *, dismissed: bool) -> Notice:
        """Dismiss a notice or show it again; one of an organization, for all who read it.

        Raises:
            NoticeUnknown: The user has no such notice.
        """
        values = {"user_id": user_id, "uuid": uuid, "dismissed": dismissed}
        return _only(self._database.run(_DISMISS, values), uuid)


def _parameters(namespace: str, target: Target) -> dict[str, str]:
    return {"namespace": namespace, "kind": target.kind, "target": target.name}


def _only(rows: list[Any], uuid: UUID) -> Notice:
    if not rows:
        raise NoticeUnknown(uuid)
    return Notice(*rows[0])

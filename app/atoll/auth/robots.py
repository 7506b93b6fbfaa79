"""Robot accounts, which belong to a namespace. Their name is `NAMESPACE+NAME`, as in Quay."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime

import psycopg2.errors

from atoll.auth.credentials import ROBOT_PURPOSE
from atoll.auth.robot_rule import RobotRule
from atoll.auth.secrets import Cipher, SecretUnreadable, random_token
from atoll.db.pool import Database

log = logging.getLogger(__name__)

_SHORT_NAME = re.compile(r"[a-z][a-z0-9_-]{1,254}")
_TOKEN_LENGTH = 64

_COLUMNS = "r.username, r.robot_secret, r.description, r.created_at"
_OF_NAMESPACE = """FROM "user" r JOIN "user" n ON n.id = r.robot_owner_id
WHERE n.username = %(namespace)s"""

# Some of the mirrors that a robot is used by.
_MIRRORS = """
SELECT o.username FROM orgmirrorconfig m JOIN "user" o ON o.id = m.organization_id
JOIN "user" robot ON robot.id = m.internal_robot_id WHERE robot.username = %(username)s
UNION ALL (
SELECT n.username || '/' || r.name FROM repomirrorconfig m
JOIN "user" robot ON robot.id = m.internal_robot_id
JOIN repository r ON r.id = m.repository_id JOIN "user" n ON n.id = r.namespace_user_id
WHERE robot.username = %(username)s AND m.org_mirror_id IS NULL ORDER BY 1 LIMIT 5)
"""


class InvalidRobotName(ValueError):
    """The name of the robot is not valid."""


class RobotsDisallowed(Exception):
    """The bundle does not permit this robot."""


class RobotExists(Exception):
    """The namespace already has a robot of that name."""


class RobotUnknown(Exception):
    """The namespace has no such robot."""


class RobotInUse(Exception):
    """A mirror uses the robot."""


@dataclass(frozen=True)
class Robot:
    """A robot account.

    Attributes:
        name: Its name with the namespace.
        token: Its token; None if it was encrypted with another bundle's key, so that the robot
            cannot log in until it gets a new one.
        description: A text for people.
        created_at: When it was created.
    """

    name: str
    token: str | None
    description: str
    created_at: datetime


class Robots:
    """The robots of all namespaces."""

    def __init__(self, database: Database, cipher: Cipher, rule: RobotRule) -> None:
        self._database = database
        self._cipher = cipher
        self._rule = rule

    def create(self, namespace: str, short_name: str, description: str) -> Robot:
        """Create a robot.

        Raises:
            InvalidRobotName: The name is not valid.
            RobotsDisallowed: The bundle does not permit this robot.
            RobotExists: The namespace already has a robot of that name.
        """
        if not _SHORT_NAME.fullmatch(short_name):
            raise InvalidRobotName(
                f"'{short_name[:200]}' is not a valid robot name; use at least two lower-case"
                " letters, digits, _ and -, starting with a letter"
            )
        if not self._rule.allows(f"{namespace}+{short_name}"):
            raise RobotsDisallowed(
                f"robots are disabled by ROBOTS_DISALLOW; add '{namespace}+{short_name}' to"
                " ROBOTS_WHITELIST to permit it"
            )
        rows = self._database.run(
            """
            INSERT INTO "user" AS r (username, robot_owner_id, robot_secret, description)
            SELECT %(username)s, id, %(secret)s, %(description)s FROM "user"
            WHERE username = %(namespace)s AND robot_owner_id IS NULL
            ON CONFLICT (username) DO NOTHING
            RETURNING r.username, r.robot_secret, r.description, r.created_at
            """,
            {**self._names(namespace, short_name), **self._secret(), "description": description},
        )
        if not rows:
            raise RobotExists(f"the robot '{namespace}+{short_name}' already exists")
        return self._robot(rows[0])

    def get(self, namespace: str, short_name: str) -> Robot:
        """Return a robot.

        Raises:
            RobotUnknown: The namespace has no such robot.
        """
        rows = self._database.read(
            f"SELECT {_COLUMNS} {_OF_NAMESPACE} AND r.username = %(username)s",
            self._names(namespace, short_name),
        )
        return self._only(rows, namespace, short_name)

    def regenerate(self, namespace: str, short_name: str) -> Robot:
        """Replace a robot's token, which invalidates the old one.

        Raises:
            RobotUnknown: The namespace has no such robot.
        """
        rows = self._database.run(
            f"""UPDATE "user" r SET robot_secret = %(secret)s
            WHERE username = %(username)s AND robot_owner_id IS NOT NULL RETURNING {_COLUMNS}""",
            {**self._names(namespace, short_name), **self._secret()},
        )
        return self._only(rows, namespace, short_name)

    def delete(self, namespace: str, short_name: str) -> None:
        """Delete a robot with its permissions.

        Raises:
            RobotUnknown: The namespace has no such robot.
            RobotInUse: A mirror uses the robot.
        """
        names = self._names(namespace, short_name)
        try:
            rows = self._database.run(
                'DELETE FROM "user" WHERE username = %(username)s AND robot_owner_id IS NOT NULL'
                " RETURNING username",
                names,
            )
        except psycopg2.errors.ForeignKeyViolation as error:
            mirrors = self._database.read(_MIRRORS, names)
            listed = ", ".join(f"'{row[0]}'" for row in mirrors)
            raise RobotInUse(
                f"the robot '{names['username']}' is used by the mirror {listed}; give the mirror"
                " another robot first"
            ) from error
        if not rows:
            raise self._unknown(namespace, short_name)

    def permissions(self, namespace: str, short_name: str) -> list[tuple[str, str, bool]]:
        """Return a robot's permissions: repository, role, and whether the repository is public."""
        rows = self._database.read(
            """
            SELECT r.name, p.role, r.visibility = 'public' FROM repositorypermission p
            JOIN repository r ON r.id = p.repository_id
            JOIN "user" u ON u.id = p.user_id
            WHERE u.username = %(username)s ORDER BY r.name
            """,
            self._names(namespace, short_name),
        )
        return [tuple(row) for row in rows]

    def _robot(self, row: tuple[str, str, str, datetime]) -> Robot:
        name, secret, description, created_at = row
        try:
            token = self._cipher.decrypt(secret, ROBOT_PURPOSE)
        except SecretUnreadable:
            log.warning("robot token unreadable", extra={"robot": name})
            token = None
        return Robot(name, token, description, created_at)

    def _secret(self) -> dict[str, str]:
        return {"secret": self._cipher.encrypt(random_token(_TOKEN_LENGTH), ROBOT_PURPOSE)}

    def _only(
        self, rows: list[tuple[str, str, str, datetime]], namespace: str, short_name: str
    ) -> Robot:
        if not rows:
            raise self._unknown(namespace, short_name)
        return self._robot(rows[0])

    @staticmethod
    def _names(namespace: str, short_name: str) -> dict[str, str]:
        return {"namespace": namespace, "username": f"{namespace}+{short_name}"}

    @staticmethod
    def _unknown(namespace: str, short_name: str) -> RobotUnknown:
        return RobotUnknown(f"could not find robot with username: {namespace}+{short_name}")

    def list(self, namespace: str) -> list[Robot]:
        """Return the namespace's robots, by name."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} {_OF_NAMESPACE} ORDER BY r.username", {"namespace": namespace}
        )
        return [self._robot(row) for row in rows]

"""The rights of the account in whose name a medium is exported or imported."""

from __future__ import annotations

from atoll.auth.access import PULL, PUSH, Access
from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.names import RepositoryName
from atoll.registry.errors import Denied

_ACCOUNT = """
SELECT 1 FROM "user" u LEFT JOIN "user" owner ON owner.id = u.robot_owner_id
WHERE u.username = %(username)s AND NOT u.organization AND u.enabled
  AND coalesce(owner.enabled, true)
"""


class Rights:
    """The current rights of a user or robot.

    Args:
        database: The database.
        access: Looks up permissions.
        username: The account.

    Raises:
        UserError: There is no such account, or it is disabled.
    """

    def __init__(self, database: Database, access: Access, username: str) -> None:
        if not database.read(_ACCOUNT, {"username": username}):
            raise UserError(
                f"there is no enabled user or robot '{username}'; name another one with --as"
            )
        self._access = access
        self.username = username

    def may_pull(self, name: RepositoryName) -> bool:
        """Return whether the account may pull from a repository."""
        return PULL in self._access.grants(self.username, [name])[0].actions

    def require_push(self, name: RepositoryName) -> int | None:
        """Return the id of a repository, None if a push creates it.

        Raises:
            Denied: The account may not push to it.
        """
        grant = self._access.grants(self.username, [name])[0]
        if PUSH not in grant.actions:
            raise Denied(
                f"'{self.username}' may not push to the repository '{name}': it needs the role"
                " write, and a mirror or read-only repository is not changed"
            )
        return grant.id

"""An organization with the roles of one user, and the SQL that selects it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Organization:
    """An organization, with the roles that one user has in it by its teams."""

    name: str
    email: str | None
    tag_expiration_s: int | None
    roles: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether the user administers the organization."""
        return "admin" in self.roles


def organization_with_roles(user: str) -> str:
    """Return a SELECT of the organization `%(organization)s`, of at most one row.

    Its columns are those of `Organization`.

    Args:
        user: An SQL expression for the user's id. If it is null, there are no roles.
    """
    return f"""
        SELECT o.username, o.email, o.tag_expiration_s, array(
            SELECT t.role FROM team t JOIN teammember m ON m.team_id = t.id
            WHERE t.organization_id = o.id AND m.user_id = {user}) AS roles
        FROM "user" o WHERE o.username = %(organization)s AND o.organization
    """

"""Transfer of a namespace to a superuser, for namespaces without an administrator."""

from __future__ import annotations

from atoll.auth.users import UserUnknown
from atoll.db.pool import Database

# Make the superuser an owner of the namespace. A user's namespace becomes an organization, which
# cannot log in: the user's credentials and its memberships, permissions and stars elsewhere are
# deleted. A disabled user becomes an enabled organization.
_TAKE_OWNERSHIP = """
WITH target AS (
    SELECT id, NOT organization AS was_user FROM "user"
    WHERE username = %(name)s AND robot_owner_id IS NULL FOR UPDATE
), converted_user AS (
    UPDATE "user" u SET organization = true, password_hash = NULL, enabled = true FROM target
    WHERE u.id = target.id AND was_user
), app_tokens AS (
    DELETE FROM appspecifictoken USING target WHERE user_id = target.id AND was_user
), api_tokens AS (
    DELETE FROM oauthaccesstoken USING target WHERE user_id = target.id AND was_user
), assigned_authorizations AS (
    DELETE FROM oauthassignedauthorization USING target WHERE user_id = target.id AND was_user
), memberships AS (
    DELETE FROM teammember USING target WHERE user_id = target.id AND was_user
), permissions AS (
    DELETE FROM repositorypermission USING target WHERE user_id = target.id AND was_user
), prototypes AS (
    DELETE FROM permissionprototype USING target
    WHERE (delegate_user_id = target.id OR activating_user_id = target.id) AND was_user
), stars AS (
    DELETE FROM star USING target WHERE user_id = target.id AND was_user
), owners AS (
    INSERT INTO team (organization_id, name, role) SELECT id, 'owners', 'admin' FROM target
    ON CONFLICT (organization_id, name) DO UPDATE SET role = 'admin' RETURNING id
), owner AS (
    INSERT INTO teammember (team_id, user_id) SELECT id, %(superuser)s FROM owners
    ON CONFLICT DO NOTHING
)
SELECT id, was_user FROM target
"""


def take_ownership(database: Database, name: str, superuser_id: int) -> tuple[int, bool]:
    """Make a superuser an owner of a namespace, and convert a user into an organization.

    Returns:
        The namespace's id, and whether it belonged to a user.

    Raises:
        UserUnknown: There is no such user or organization.
    """
    rows = database.run(_TAKE_OWNERSHIP, {"name": name, "superuser": superuser_id})
    if not rows:
        raise UserUnknown(f"there is no user or organization '{name}'")
    return int(rows[0][0]), bool(rows[0][1])

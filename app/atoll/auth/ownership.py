"""How a superuser takes over a namespace whose people are gone."""

from __future__ import annotations

from atoll.auth.users import UserUnknown
from atoll.db.pool import Database

# A user becomes an organization, which nobody logs in as: what let the user in, and what the user
# had elsewhere, goes. Who was disabled is what such a user was; the organization is not.
_TAKE = """
WITH target AS (
    SELECT id, NOT organization AS was_user FROM "user"
    WHERE username = %(name)s AND robot_owner_id IS NULL FOR UPDATE
), turned AS (
    UPDATE "user" u SET organization = true, password_hash = NULL, enabled = true FROM target
    WHERE u.id = target.id AND was_user
), app_tokens AS (
    DELETE FROM appspecifictoken USING target WHERE user_id = target.id AND was_user
), api_tokens AS (
    DELETE FROM oauthaccesstoken USING target WHERE user_id = target.id AND was_user
), asked AS (
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
    """Make a superuser an owner of a namespace; a user's becomes an organization by that.

    Return the namespace's id and whether it was a user's. Raises UserUnknown.
    """
    rows = database.run(_TAKE, {"name": name, "superuser": superuser_id})
    if not rows:
        raise UserUnknown(f"there is no user or organization '{name}'")
    return int(rows[0][0]), bool(rows[0][1])

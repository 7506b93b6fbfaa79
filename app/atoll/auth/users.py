"""Create, read, change and rename users and organizations."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2.errors

from atoll.auth.passwords import check_length, hash_password
from atoll.config import Bundle
from atoll.db.patterns import escape_pattern
from atoll.db.pool import Database
from atoll.errors import UserError

log = logging.getLogger(__name__)

# A user name is also a namespace, the first component of a repository's name.
_USERNAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_USERNAME_MAXIMUM = 255


class InvalidUsername(UserError, ValueError):
    """The name is not a valid namespace."""


class UserUnknown(UserError):
    """There is no such user."""


class UserExists(UserError):
    """The name or the e-mail address belongs to another account."""


@dataclass(frozen=True)
class User:
    """A user account."""

    id: int
    username: str
    email: str | None
    enabled: bool
    tag_expiration_s: int | None
    created_at: datetime


_USER = 'SELECT id, username, email, enabled, tag_expiration_s, created_at FROM "user"'
_IS_USER = "NOT organization AND robot_owner_id IS NULL"


def list_users(
    database: Database,
    *,
    disabled: bool,
    limit: int | None = None,
    after: str = "",
    containing: str = "",
) -> list[User]:
    """Return the users by name.

    Args:
        database: The database.
        disabled: Whether to include disabled users.
        limit: The maximum number; None for all.
        after: The name after which the list begins.
        containing: A part of the names.
    """
    rows = database.read(
        f"""{_USER} WHERE {_IS_USER} AND (enabled OR %(disabled)s) AND username > %(after)s
            AND username LIKE %(pattern)s ORDER BY username LIMIT %(limit)s""",
        {
            "disabled": disabled,
            "after": after,
            "pattern": f"%{escape_pattern(containing)}%",
            "limit": limit,
        },
    )
    return [User(*row) for row in rows]


def get_user(database: Database, username: str) -> User:
    """Return a user.

    Raises:
        UserUnknown: There is no such user.
    """
    rows = database.read(f"{_USER} WHERE {_IS_USER} AND username = %s", [username])
    if not rows:
        raise UserUnknown(f"there is no user '{username}'")
    return User(*rows[0])


def change_user(
    database: Database,
    username: str,
    *,
    email: str | None = None,
    password: str | None = None,
    enabled: bool | None = None,
    tag_expiration_s: int | None = None,
) -> User:
    """Change the attributes of a user that are not None.

    A new password, or disabling the user, revokes all of the user's tokens.

    Raises:
        UserUnknown: There is no such user.
        UserExists: The e-mail address belongs to another account.
        PasswordTooShort: The new password is too short.
    """
    values = {
        "username": username,
        "email": email,
        "hash": hash_password(password) if password is not None else None,
        "enabled": enabled,
        "expiration": tag_expiration_s,
    }
    try:
        rows = database.run(
            f"""
            WITH changed AS (
                UPDATE "user" SET email = coalesce(%(email)s, email),
                    password_hash = coalesce(%(hash)s, password_hash),
                    enabled = coalesce(%(enabled)s, enabled),
                    tag_expiration_s = coalesce(%(expiration)s, tag_expiration_s)
                WHERE username = %(username)s AND {_IS_USER}
                RETURNING id, username, email, enabled, tag_expiration_s, created_at
            ), revoked_user AS (
                SELECT id FROM changed WHERE %(hash)s::text IS NOT NULL OR NOT enabled
            ), revoked_api_tokens AS (
                DELETE FROM oauthaccesstoken USING revoked_user WHERE user_id = revoked_user.id
            ), revoked_app_tokens AS (
                DELETE FROM appspecifictoken USING revoked_user WHERE user_id = revoked_user.id
            )
            SELECT * FROM changed
            """,
            values,
        )
    except psycopg2.errors.UniqueViolation as error:
        raise UserExists("the e-mail address is taken already") from error
    if not rows:
        raise UserUnknown(f"there is no user '{username}'")
    return User(*rows[0])


def change_organization(
    database: Database,
    name: str,
    *,
    email: str | None = None,
    tag_expiration_s: int | None = None,
) -> None:
    """Change the attributes of an organization that are not None.

    Raises:
        UserExists: The e-mail address belongs to another account.
    """
    values: dict[str, Any] = {"name": name, "email": email, "expiration": tag_expiration_s}
    try:
        database.run(
            """
            UPDATE "user" SET email = coalesce(%(email)s, email),
                tag_expiration_s = coalesce(%(expiration)s, tag_expiration_s)
            WHERE username = %(name)s AND organization
            """,
            values,
        )
    except psycopg2.errors.UniqueViolation as error:
        raise UserExists("the e-mail address is taken already") from error


def rename_namespace(database: Database, name: str, new_name: str, *, organization: bool) -> None:
    """Rename a user or organization, and its robots.

    Raises:
        InvalidUsername: The new name is not valid.
        UserExists: The new name is taken.
        UserUnknown: There is no such user or organization.
    """
    values = {"name": name, "new_name": check_username(new_name), "organization": organization}
    try:
        rows = database.run(
            """
            UPDATE "user" r SET username = %(new_name)s || '+' || split_part(r.username, '+', 2)
            FROM "user" o WHERE o.username = %(name)s AND o.organization = %(organization)s
              AND r.robot_owner_id = o.id;
            UPDATE "user" SET username = %(new_name)s
            WHERE username = %(name)s AND organization = %(organization)s
              AND robot_owner_id IS NULL
            RETURNING id
            """,
            values,
        )
    except psycopg2.errors.UniqueViolation as error:
        raise UserExists(f"the name '{new_name}' is taken already") from error
    if not rows:
        raise unknown_namespace(name, organization=organization)


def unknown_namespace(name: str, *, organization: bool) -> UserUnknown:
    """Return the error for a user or an organization that does not exist."""
    kind = "organization" if organization else "user"
    return UserUnknown(f"there is no {kind} '{name}'")


def initialize(database: Database, username: str, email: str | None, password: str) -> bool:
    """Create the first user of an empty database. Return False if there is already a user."""
    if database.read(f"{_USER} LIMIT 1"):
        return False
    with database.transaction() as cursor:
        # Two sites may receive the request at the same time.
        cursor.execute(f'LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE; {_USER} LIMIT 1')
        if cursor.fetchone() is not None:
            return False
        cursor.execute(
            'INSERT INTO "user" (username, email, password_hash) VALUES (%s, %s, %s)',
            [check_username(username), email, hash_password(password)],
        )
    return True


def check_username(username: str) -> str:
    """Return the name if it is valid for a user or organization.

    Raises:
        InvalidUsername: The name is not valid.
    """
    if len(username) > _USERNAME_MAXIMUM or not _USERNAME.fullmatch(username):
        raise InvalidUsername(
            f"'{username[:200]}' is not a valid user name; use lower-case letters and digits,"
            " separated by . _ or -"
        )
    return username


def name_taken(username: str) -> UserExists:
    """Return the error for a name or e-mail address that is taken."""
    return UserExists(f"the name '{username}' or the e-mail address is taken already")


def create_user(database: Database, username: str, email: str | None, password: str) -> int:
    """Create a user and return its id.

    Raises:
        InvalidUsername: The name is not valid.
        PasswordTooShort: The password is too short.
        UserExists: The name or the e-mail address is taken.
    """
    check_username(username)
    check_length(password)
    # A lookup costs much less than a hash.
    if database.read(
        'SELECT 1 FROM "user" WHERE username = %s OR (email IS NOT NULL AND email = %s)',
        [username, email],
    ):
        raise name_taken(username)
    values = (username, email, hash_password(password))
    try:
        rows = database.run(
            'INSERT INTO "user" (username, email, password_hash) VALUES (%s, %s, %s) RETURNING id',
            values,
        )
    except psycopg2.errors.UniqueViolation as error:
        raise name_taken(username) from error
    return int(rows[0][0])


def create_organization(
    database: Database, name: str, creator: str, email: str | None = None
) -> bool:
    """Create an organization with the team `owners`, whose member is the creator.

    Returns:
        Whether the organization is new; False if there is already an account of that name.

    Raises:
        InvalidUsername: The name is not valid.
        UserExists: The e-mail address is taken.
    """
    try:
        rows = database.run(
            """
        WITH organization AS (
            INSERT INTO "user" (username, email, organization) VALUES (%(name)s, %(email)s, true)
            ON CONFLICT (username) DO NOTHING RETURNING id
        ), owners AS (
            INSERT INTO team (organization_id, name, role)
            SELECT id, 'owners', 'admin' FROM organization RETURNING id
        ), owner AS (
            INSERT INTO teammember (team_id, user_id)
            SELECT owners.id, "user".id FROM owners, "user" WHERE username = %(creator)s
        )
        SELECT id FROM organization
        """,
            {"name": check_username(name), "creator": creator, "email": email},
        )
    except psycopg2.errors.UniqueViolation as error:
        raise UserExists("the e-mail address is taken already") from error
    return bool(rows)


def create_first_superuser(database: Database, bundle: Bundle) -> None:
    """Create the first of SUPER_USERS with INITIAL_SUPERUSER_PASSWORD.

    An existing user is not changed: changing the key later does not change the password.
    """
    if not bundle.super_users or bundle.initial_superuser_password is None:
        return
    username = bundle.super_users[0]
    if database.read('SELECT 1 FROM "user" WHERE username = %s', [username]):
        return
    try:
        create_user(database, username, None, bundle.initial_superuser_password.get_secret_value())
    except UserExists:
        return
    log.info("first superuser created", extra={"username": username})

"""Users and organizations: make and find them."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import psycopg2.errors

from atoll.auth.passwords import check_length, hash_password
from atoll.config import Bundle
from atoll.db.pool import Database

log = logging.getLogger(__name__)

# A username is also a namespace, the first component of a repository's name.
_USERNAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_USERNAME_MAXIMUM = 255


class InvalidUsername(ValueError):
    """A name that cannot be a namespace."""


class UserUnknown(Exception):
    """There is no such user."""


class UserExists(Exception):
    """The name, or the e-mail address, belongs to somebody already."""


@dataclass(frozen=True)
class User:
    """A user."""

    id: int
    username: str
    email: str | None
    enabled: bool
    tag_expiration_s: int | None


_USER = 'SELECT id, username, email, enabled, tag_expiration_s FROM "user"'
_PERSON = "NOT organization AND robot_owner_id IS NULL"


def list_users(database: Database, *, disabled: bool) -> list[User]:
    """Return all users by name; with DISABLED also those who may not log in."""
    rows = database.read(
        f"{_USER} WHERE {_PERSON} AND (enabled OR %s) ORDER BY username", [disabled]
    )
    return [User(*row) for row in rows]


def get_user(database: Database, username: str) -> User:
    """Return a user, or raise UserUnknown."""
    rows = database.read(f"{_USER} WHERE {_PERSON} AND username = %s", [username])
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
    """Change what is given. A new password, and being disabled, end all of the user's tokens.

    Raises:
        UserUnknown: there is no such user.
        UserExists: the e-mail address belongs to another account.
        PasswordTooShort: the new password cannot be used.
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
                WHERE username = %(username)s AND {_PERSON}
                RETURNING id, username, email, enabled, tag_expiration_s
            ), ended AS (
                SELECT id FROM changed WHERE %(hash)s::text IS NOT NULL OR NOT enabled
            ), ended_api_tokens AS (
                DELETE FROM oauthaccesstoken USING ended WHERE user_id = ended.id
            ), ended_app_tokens AS (
                DELETE FROM appspecifictoken USING ended WHERE user_id = ended.id
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
    """Change what is given of an organization. Raises UserExists."""
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
    """Give a user or an organization, and its robots, another name.

    Raises InvalidUsername, UserExists or UserUnknown.
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
        raise UserUnknown(f"there is no '{name}'")


def initialize(database: Database, username: str, email: str | None, password: str) -> bool:
    """Make the first user of an empty database; False, and nothing done, if there is a user."""
    if database.read(f"{_USER} LIMIT 1"):
        return False
    with database.transaction() as cursor:
        # Two sites may be asked at once.
        cursor.execute(f'LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE; {_USER} LIMIT 1')
        if cursor.fetchone() is not None:
            return False
        cursor.execute(
            'INSERT INTO "user" (username, email, password_hash) VALUES (%s, %s, %s)',
            [check_username(username), email, hash_password(password)],
        )
    return True


def check_username(username: str) -> str:
    """Return USERNAME if it may be a user's or an organization's name, or raise."""
    if len(username) > _USERNAME_MAXIMUM or not _USERNAME.fullmatch(username):
        raise InvalidUsername(
            f"'{username[:200]}' is not a user name; use lower-case letters, digits,"
            " and . _ - between them"
        )
    return username


def name_taken(username: str) -> UserExists:
    """Return the error for a name, or an e-mail address, that cannot be registered."""
    return UserExists(f"the name '{username}' or the e-mail address is taken already")


def create_user(database: Database, username: str, email: str | None, password: str) -> int:
    """Make a user and return the id.

    Raises InvalidUsername, PasswordTooShort or UserExists.
    """
    check_username(username)
    check_length(password)
    # A look-up costs much less than a hash.
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
    """Make an organization whose team `owners` is CREATOR; tell whether it is new.

    Raises InvalidUsername, or UserExists if the e-mail address is taken.
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
    """Make the first of SUPER_USERS, once, with INITIAL_SUPERUSER_PASSWORD.

    An existing user stays as it is: changing the key later changes nobody's password.
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

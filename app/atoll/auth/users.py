"""Users and organizations: make and find them."""

from __future__ import annotations

import logging
import re

import psycopg2.errors

from atoll.auth.passwords import hash_password
from atoll.config import Bundle
from atoll.db.pool import Database

log = logging.getLogger(__name__)

# A username is also a namespace, the first component of a repository's name.
_USERNAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_USERNAME_MAXIMUM = 255


class InvalidUsername(ValueError):
    """A name that cannot be a namespace."""


class UserExists(Exception):
    """The name, or the e-mail address, belongs to somebody already."""


def check_username(username: str) -> str:
    """Return USERNAME if it may be a user's or an organization's name, or raise."""
    if len(username) > _USERNAME_MAXIMUM or not _USERNAME.fullmatch(username):
        raise InvalidUsername(
            f"'{username[:200]}' is not a user name; use lower-case letters, digits,"
            " and . _ - between them"
        )
    return username


def create_user(database: Database, username: str, email: str | None, password: str) -> int:
    """Make a user and return the id.

    Raises InvalidUsername, PasswordTooShort or UserExists.
    """
    values = (check_username(username), email, hash_password(password))
    try:
        rows = database.run(
            'INSERT INTO "user" (username, email, password_hash) VALUES (%s, %s, %s) RETURNING id',
            values,
        )
    except psycopg2.errors.UniqueViolation as error:
        raise UserExists(f"the name '{username}' or the e-mail address is taken already") from error
    return int(rows[0][0])


def create_organization(database: Database, name: str, creator: str) -> None:
    """Make an organization whose team `owners` is CREATOR. No error if the name is taken."""
    database.run(
        """
        WITH organization AS (
            INSERT INTO "user" (username, organization) VALUES (%(name)s, true)
            ON CONFLICT (username) DO NOTHING RETURNING id
        ), owners AS (
            INSERT INTO team (organization_id, name, role)
            SELECT id, 'owners', 'admin' FROM organization RETURNING id
        )
        INSERT INTO teammember (team_id, user_id)
        SELECT owners.id, "user".id FROM owners, "user" WHERE username = %(creator)s
        """,
        {"name": check_username(name), "creator": creator},
    )


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

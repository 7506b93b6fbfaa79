"""OAuth access tokens for the API, and app-specific tokens for registry clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from atoll.auth.credentials import APP_PURPOSE, APP_TOKEN_HALF, hash_token
from atoll.auth.secrets import Cipher, random_token
from atoll.config import Bundle
from atoll.db.pool import Database

SCOPES = {
    "repo:read": "view and pull repositories that the user can read",
    "repo:write": "push to repositories that the user can write to",
    "repo:admin": "administer repositories that the user administers",
    "repo:create": "create repositories",
    "user:read": "read the user's own data",
    "user:admin": "change the user's own account, robots and tokens",
    "org:admin": "administer the user's organizations",
    "super:user": "act as a superuser",
}
TOKEN_LENGTH = 40
_COLUMNS = "uuid, title, token_name, token_secret, created_at, expires_at"


class AppTokenUnknown(Exception):
    """The user has no such app-specific token."""


class ApiTokenUnknown(Exception):
    """The user or application has no such API token."""


@dataclass(frozen=True)
class ApiToken:
    """The description of an API token, without the secret, and its application, if any."""

    uuid: UUID
    scope: str
    created_at: datetime
    expires_at: datetime
    client_id: str | None
    application: str | None


@dataclass(frozen=True)
class AppToken:
    """An app-specific token; clients log in with `code` as the password."""

    uuid: UUID
    title: str
    code: str
    created_at: datetime
    expires_at: datetime | None


class ApiTokens:
    """The API tokens of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, username: str, scopes: list[str], seconds: int, *, client_id: str | None = None
    ) -> str:
        """Create an API token and return it; only its hash is stored.

        Args:
            username: The user that the token acts for.
            scopes: The token's scopes.
            seconds: The token's lifetime, in seconds.
            client_id: The application that the token is issued to. Deleting the application
                revokes it.
        """
        token = random_token(TOKEN_LENGTH)
        self._database.run(
            """
            INSERT INTO oauthaccesstoken (user_id, token_hash, scope, expires_at, application_id)
            SELECT id, %s, %s, now() + make_interval(secs => %s),
                   (SELECT id FROM oauthapplication WHERE client_id = %s)
            FROM "user" WHERE username = %s
            """,
            [hash_token(token), " ".join(scopes), seconds, client_id, username],
        )
        return token

    def list(self, user_id: int) -> list[ApiToken]:
        """Return the user's valid tokens, oldest first."""
        rows = self._database.read(
            """
            SELECT t.uuid, t.scope, t.created_at, t.expires_at, a.client_id, a.name
            FROM oauthaccesstoken t LEFT JOIN oauthapplication a ON a.id = t.application_id
            WHERE t.user_id = %s AND t.expires_at > now() ORDER BY t.id
            """,
            [user_id],
        )
        return [ApiToken(*row) for row in rows]

    def revoke(self, user_id: int, uuid: UUID) -> None:
        """Revoke a token of the user.

        Raises:
            ApiTokenUnknown: The user has no such token.
        """
        rows = self._database.run(
            "DELETE FROM oauthaccesstoken WHERE user_id = %s AND uuid = %s RETURNING id",
            [user_id, uuid],
        )
        if not rows:
            raise ApiTokenUnknown(f"there is no token {uuid}")


class AppTokens:
    """The app-specific tokens of all users."""

    def __init__(self, database: Database, cipher: Cipher, bundle: Bundle) -> None:
        self._database = database
        self._cipher = cipher
        self._life_seconds = bundle.app_specific_token_expiration

    def create(self, user_id: int, title: str) -> AppToken:
        """Create a token that expires after APP_SPECIFIC_TOKEN_EXPIRATION."""
        name, secret = random_token(APP_TOKEN_HALF), random_token(APP_TOKEN_HALF)
        rows = self._database.run(
            f"""
            INSERT INTO appspecifictoken (user_id, title, token_name, token_secret, expires_at)
            VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s)) RETURNING {_COLUMNS}
            """,
            [user_id, title, name, self._cipher.encrypt(secret, APP_PURPOSE), self._life_seconds],
        )
        return self._token(rows[0])

    def list(self, user_id: int, *, expiring: bool) -> list[AppToken]:
        """Return the user's tokens, oldest first.

        Args:
            user_id: The user's id.
            expiring: Whether to return only tokens that expire within a month.
        """
        rows = self._database.read(
            f"""
            SELECT {_COLUMNS} FROM appspecifictoken
            WHERE user_id = %(user)s
              AND (NOT %(expiring)s OR expires_at < now() + interval '1 month')
            ORDER BY id
            """,
            {"user": user_id, "expiring": expiring},
        )
        return [self._token(row) for row in rows]

    def get(self, user_id: int, uuid: UUID) -> AppToken:
        """Return a token of the user.

        Raises:
            AppTokenUnknown: The user has no such token.
        """
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM appspecifictoken WHERE user_id = %s AND uuid = %s",
            [user_id, uuid],
        )
        if not rows:
            raise AppTokenUnknown(f"there is no app token {uuid}")
        return self._token(rows[0])

    def revoke(self, user_id: int, uuid: UUID) -> None:
        """Revoke a token of the user.

        Raises:
            AppTokenUnknown: The user has no such token.
        """
        rows = self._database.run(
            "DELETE FROM appspecifictoken WHERE user_id = %s AND uuid = %s RETURNING id",
            [user_id, uuid],
        )
        if not rows:
            raise AppTokenUnknown(f"there is no app token {uuid}")

    def _token(self, row: tuple[UUID, str, str, str, datetime, datetime | None]) -> AppToken:
        uuid, title, name, secret, created, expires = row
        code = name + self._cipher.decrypt(secret, APP_PURPOSE)
        return AppToken(uuid, title, code, created, expires)

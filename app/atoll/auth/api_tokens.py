"""Tokens for the API, and tokens that a user gives to one program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from atoll.auth.credentials import APP_PURPOSE, APP_TOKEN_HALF, hash_token
from atoll.auth.secrets import Cipher, random_token
from atoll.config import Bundle
from atoll.db.pool import Database

SCOPES = {
    "repo:read": "see and pull the repositories that the user may",
    "repo:write": "push to the repositories that the user may",
    "repo:admin": "administer the repositories that the user may",
    "repo:create": "make repositories",
    "user:read": "read the user's own data",
    "user:admin": "change the user's own account, robots and tokens",
    "org:admin": "administer the user's organizations",
    "super:user": "act as a superuser",
}
TOKEN_LENGTH = 40
_COLUMNS = "uuid, title, token_name, token_secret, created_at, expires_at"


class AppTokenUnknown(Exception):
    """The user has no such token."""


class ApiTokenUnknown(Exception):
    """The user has no such token of the API."""


@dataclass(frozen=True)
class ApiToken:
    """A token of the API, without the token itself, and the application that asked for it."""

    uuid: UUID
    scope: str
    created_at: datetime
    expires_at: datetime
    client_id: str | None
    application: str | None


@dataclass(frozen=True)
class AppToken:
    """An app-specific token; `code` is what the program shows as its password."""

    uuid: UUID
    title: str
    code: str
    created_at: datetime
    expires_at: datetime | None


class ApiTokens:
    """Makes tokens for the API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, username: str, scopes: list[str], seconds: int, *, client_id: str | None = None
    ) -> str:
        """Return a new token of a user, good for so many seconds. Nobody can read it again.

        With CLIENT_ID it is that application's, and goes when the application goes.
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
        """Return the user's tokens that are good, oldest first."""
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
        """Let a token be good no more, or raise ApiTokenUnknown."""
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
        """Make a token."""
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
        """Return the user's tokens; with EXPIRING those that end within a month."""
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
        """Return a token of the user's, or raise AppTokenUnknown."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM appspecifictoken WHERE user_id = %s AND uuid = %s",
            [user_id, uuid],
        )
        if not rows:
            raise AppTokenUnknown(f"there is no app token {uuid}")
        return self._token(rows[0])

    def revoke(self, user_id: int, uuid: UUID) -> None:
        """Let a token be good no more, or raise AppTokenUnknown."""
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

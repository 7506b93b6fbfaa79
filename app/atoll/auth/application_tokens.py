"""Named API tokens that are created in an application's settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from atoll.auth.api_tokens import TOKEN_LENGTH, ApiTokenUnknown
from atoll.auth.credentials import hash_token
from atoll.auth.secrets import random_token
from atoll.db.pool import Database

_COLUMNS = "t.uuid, t.name, t.scope, t.expires_at, t.created_at, u.username"


@dataclass(frozen=True)
class ApplicationToken:
    """An API token of an application.

    Attributes:
        uuid: The token's id.
        name: The token's name.
        scope: The granted scopes, separated by spaces.
        expires_at: When the token expires.
        created_at: When the token was created.
        username: The user that the token acts for.
        token: The token itself, in the result of `create` only.
    """

    uuid: UUID
    name: str | None
    scope: str
    expires_at: datetime
    created_at: datetime
    username: str
    token: str | None = None


class ApplicationTokens:
    """The named tokens of all applications."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, client_id: str, user_id: int, name: str, scopes: list[str], seconds: int
    ) -> ApplicationToken:
        """Create a token that acts for a user, valid for `seconds`.

        Raises:
            ApiTokenUnknown: The application was deleted.
        """
        token = random_token(TOKEN_LENGTH)
        rows = self._database.run(
            f"""
            WITH created_token AS (
                INSERT INTO oauthaccesstoken
                    (user_id, token_hash, scope, expires_at, application_id, name)
                SELECT %(user)s, %(hash)s, %(scope)s, now() + make_interval(secs => %(seconds)s),
                       id, %(name)s
                FROM oauthapplication WHERE client_id = %(client_id)s RETURNING *
            )
            SELECT {_COLUMNS} FROM created_token t JOIN "user" u ON u.id = t.user_id
            """,
            {
                "user": user_id,
                "hash": hash_token(token),
                "scope": " ".join(scopes),
                "seconds": seconds,
                "client_id": client_id,
                "name": name,
            },
        )
        if not rows:
            raise ApiTokenUnknown(f"there is no application '{client_id}'")
        return replace(ApplicationToken(*rows[0]), token=token)

    def revoke(self, client_id: str, uuid: UUID) -> None:
        """Revoke a token of an application.

        Raises:
            ApiTokenUnknown: The application has no such token.
        """
        rows = self._database.run(
            """
            DELETE FROM oauthaccesstoken t USING oauthapplication a
            WHERE a.id = t.application_id AND a.client_id = %s AND t.uuid = %s RETURNING t.id
            """,
            [client_id, uuid],
        )
        if not rows:
            raise ApiTokenUnknown(f"the application has no token {uuid}")

    def list(self, client_id: str) -> list[ApplicationToken]:
        """Return an application's valid tokens, oldest first."""
        rows = self._database.read(
            f"""
            SELECT {_COLUMNS} FROM oauthaccesstoken t
            JOIN oauthapplication a ON a.id = t.application_id JOIN "user" u ON u.id = t.user_id
            WHERE a.client_id = %s AND t.expires_at > now() ORDER BY t.id
            """,
            [client_id],
        )
        return [ApplicationToken(*row) for row in rows]

"""Tokens of the API that are made in an application's settings, with a name of their own."""

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
    """A token; `username` is whose it is. `token` itself is there only when it was just made."""

    uuid: UUID
    name: str | None
    scope: str
    expires_at: datetime
    created_at: datetime
    username: str
    token: str | None = None


class ApplicationTokens:
    """The tokens of all applications."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, client_id: str, user_id: int, name: str, scopes: list[str], seconds: int
    ) -> ApplicationToken:
        """Make a token of a user's, good for so many seconds.

        Raises ApiTokenUnknown if the application has gone meanwhile.
        """
        token = random_token(TOKEN_LENGTH)
        rows = self._database.run(
            f"""
            WITH t AS (
                INSERT INTO oauthaccesstoken
                    (user_id, token_hash, scope, expires_at, application_id, name)
                SELECT %(user)s, %(hash)s, %(scope)s, now() + make_interval(secs => %(seconds)s),
                       id, %(name)s
                FROM oauthapplication WHERE client_id = %(client_id)s RETURNING *
            )
            SELECT {_COLUMNS} FROM t JOIN "user" u ON u.id = t.user_id
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
        """Let a token be good no more, or raise ApiTokenUnknown."""
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
        """Return an application's tokens that are good, oldest first."""
        rows = self._database.read(
            f"""
            SELECT {_COLUMNS} FROM oauthaccesstoken t
            JOIN oauthapplication a ON a.id = t.application_id JOIN "user" u ON u.id = t.user_id
            WHERE a.client_id = %s AND t.expires_at > now() ORDER BY t.id
            """,
            [client_id],
        )
        return [ApplicationToken(*row) for row in rows]

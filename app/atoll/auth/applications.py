"""OAuth applications, which belong to an organization and request API tokens from users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.auth import redirect_uris
from atoll.auth.secrets import Cipher, random_token
from atoll.db.pool import Database

CLIENT_SECRET_PURPOSE = "client secret"  # noqa: S105 - the purpose of a ciphertext
_CLIENT_ID_LENGTH, _CLIENT_SECRET_LENGTH = 20, 40
_COLUMNS = """a.client_id, a.client_secret, o.username, a.name, a.description, a.application_uri,
              a.redirect_uri, a.avatar_email"""
_FROM = 'FROM oauthapplication a JOIN "user" o ON o.id = a.organization_id'


class ApplicationUnknown(Exception):
    """There is no such application."""


@dataclass(frozen=True)
class Application:
    """An OAuth application."""

    client_id: str
    client_secret: str
    organization: str
    name: str
    description: str
    application_uri: str
    redirect_uri: str
    avatar_email: str | None

    def may_redirect_to(self, uri: str) -> bool:
        """Return whether tokens may be sent to `uri`, by the registered redirect URI."""
        return redirect_uris.covers(self.redirect_uri, uri)


class Applications:
    """The applications of all organizations."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    def create(
        self, organization: str, name: str, details: Mapping[str, str | None]
    ) -> Application:
        """Create an application.

        Args:
            organization: The organization that owns it.
            name: The application's name.
            details: The columns description, application_uri, redirect_uri and avatar_email.
        """
        rows = self._database.run(
            f"""
            WITH created_application AS (
                INSERT INTO oauthapplication (client_id, client_secret, organization_id, name,
                    description, application_uri, redirect_uri, avatar_email)
                SELECT %(client_id)s, %(secret)s, id, %(name)s, coalesce(%(description)s, ''),
                       coalesce(%(application_uri)s, ''), coalesce(%(redirect_uri)s, ''),
                       %(avatar_email)s
                FROM "user" WHERE username = %(organization)s AND organization RETURNING *
            )
            SELECT {_COLUMNS} FROM created_application a
            JOIN "user" o ON o.id = a.organization_id
            """,
            {
                **details,
                "client_id": random_token(_CLIENT_ID_LENGTH),
                "secret": self._secret(),
                "organization": organization,
                "name": name,
            },
        )
        return self._only(rows, name)

    def get(self, client_id: str, organization: str | None = None) -> Application:
        """Return an application.

        Args:
            client_id: The application's client id.
            organization: The organization that must own it; None for any.

        Raises:
            ApplicationUnknown: There is no such application.
        """
        rows = self._database.read(
            f"SELECT {_COLUMNS} {_FROM} WHERE a.client_id = %(client_id)s"
            " AND (%(organization)s IS NULL OR o.username = %(organization)s)",
            {"client_id": client_id, "organization": organization},
        )
        return self._only(rows, client_id)

    def change(
        self, organization: str, client_id: str, name: str, details: Mapping[str, str | None]
    ) -> Application:
        """Change an application; details that are None keep their value.

        Raises:
            ApplicationUnknown: The organization has no such application.
        """
        rows = self._database.run(
            f"""
            UPDATE oauthapplication a SET name = %(name)s,
                description = coalesce(%(description)s, a.description),
                application_uri = coalesce(%(application_uri)s, a.application_uri),
                redirect_uri = coalesce(%(redirect_uri)s, a.redirect_uri),
                avatar_email = coalesce(%(avatar_email)s, a.avatar_email)
            FROM "user" o WHERE o.id = a.organization_id AND o.username = %(organization)s
              AND a.client_id = %(client_id)s RETURNING {_COLUMNS}
            """,
            {**details, "organization": organization, "client_id": client_id, "name": name},
        )
        return self._only(rows, client_id)

    def reset_secret(self, organization: str, client_id: str) -> Application:
        """Replace an application's client secret.

        Raises:
            ApplicationUnknown: The organization has no such application.
        """
        rows = self._database.run(
            f"""
            UPDATE oauthapplication a SET client_secret = %(secret)s
            FROM "user" o WHERE o.id = a.organization_id AND o.username = %(organization)s
              AND a.client_id = %(client_id)s RETURNING {_COLUMNS}
            """,
            {"organization": organization, "client_id": client_id, "secret": self._secret()},
        )
        return self._only(rows, client_id)

    def delete(self, organization: str, client_id: str) -> str:
        """Delete an application with all its tokens and return its name.

        Raises:
            ApplicationUnknown: The organization has no such application.
        """
        rows = self._database.run(
            """
            DELETE FROM oauthapplication a USING "user" o WHERE o.id = a.organization_id
            AND o.username = %(organization)s AND a.client_id = %(client_id)s RETURNING a.name
            """,
            {"organization": organization, "client_id": client_id},
        )
        if not rows:
            raise _unknown(client_id)
        return str(rows[0][0])

    def _secret(self) -> str:
        return self._cipher.encrypt(random_token(_CLIENT_SECRET_LENGTH), CLIENT_SECRET_PURPOSE)

    def _only(self, rows: list[Any], client_id: str) -> Application:
        if not rows:
            raise _unknown(client_id)
        return self._application(rows[0])

    def _application(self, row: Any) -> Application:
        client_id, secret, *rest = row
        return Application(client_id, self._cipher.decrypt(secret, CLIENT_SECRET_PURPOSE), *rest)

    def list(self, organization: str) -> list[Application]:
        """Return an organization's applications, oldest first."""
        rows = self._database.read(
            f"SELECT {_COLUMNS} {_FROM} WHERE o.username = %s ORDER BY a.id", [organization]
        )
        return [self._application(row) for row in rows]


def _unknown(client_id: str) -> ApplicationUnknown:
    return ApplicationUnknown(f"there is no application '{client_id}'")

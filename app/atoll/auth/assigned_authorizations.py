"""Authorizations that administrators assign to users, who accept or decline them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from atoll.auth.applications import ApplicationUnknown
from atoll.auth.users import UserUnknown
from atoll.db.pool import Database


class AssignmentUnknown(Exception):
    """The user has no such assigned authorization, or already answered it."""


@dataclass(frozen=True)
class Assignment:
    """A request to a user to authorize an application."""

    uuid: UUID
    scope: str
    redirect_uri: str
    client_id: str
    application: str
    description: str
    application_uri: str
    organization: str


class AssignedAuthorizations:
    """The assigned authorizations of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign(self, username: str, client_id: str, redirect_uri: str, scopes: list[str]) -> None:
        """Assign an authorization to a user, in place of an earlier one for the application.

        Args:
            username: The user who is to authorize the application.
            client_id: The application.
            redirect_uri: Where the token is sent.
            scopes: The scopes of the token.

        Raises:
            ApplicationUnknown: There is no such application.
            UserUnknown: There is no such user.
        """
        user_id, application_id = self._database.run(
            """
            WITH assignee AS (
                SELECT id FROM "user"
                WHERE username = %(username)s AND NOT organization AND robot_owner_id IS NULL
            ), application AS (
                SELECT id FROM oauthapplication WHERE client_id = %(client_id)s
            ), replaced_assignment AS (
                DELETE FROM oauthassignedauthorization USING assignee, application
                WHERE user_id = assignee.id AND application_id = application.id
            ), new_assignment AS (
                INSERT INTO oauthassignedauthorization
                    (user_id, application_id, redirect_uri, scope)
                SELECT assignee.id, application.id, %(redirect_uri)s, %(scope)s
                FROM assignee, application
            )
            SELECT (SELECT id FROM assignee), (SELECT id FROM application)
            """,
            {
                "username": username,
                "client_id": client_id,
                "redirect_uri": redirect_uri,
                "scope": " ".join(scopes),
            },
        )[0]
        if application_id is None:
            raise ApplicationUnknown(f"there is no application '{client_id}'")
        if user_id is None:
            raise UserUnknown(f"there is no user '{username}'")

    def answer(
        self,
        user_id: int,
        uuid: UUID,
        *,
        client_id: str | None = None,
        redirect_uri: str | None = None,
        scopes: list[str] | None = None,
    ) -> Assignment:
        """Remove an assignment that the user answered, and return it.

        Raises:
            AssignmentUnknown: The user has no such assignment for `client_id`, `redirect_uri` and
                `scopes`, as far as these are given.
        """
        rows = self._database.run(
            """
            WITH answered AS (
                DELETE FROM oauthassignedauthorization g USING oauthapplication a
                WHERE a.id = g.application_id AND g.user_id = %(user)s AND g.uuid = %(uuid)s
                  AND (%(client_id)s IS NULL OR a.client_id = %(client_id)s)
                  AND (%(redirect_uri)s IS NULL OR g.redirect_uri = %(redirect_uri)s)
                  AND (%(scope)s IS NULL OR g.scope = %(scope)s)
                RETURNING g.uuid, g.scope, g.redirect_uri, g.application_id
            )
            SELECT g.uuid, g.scope, g.redirect_uri, a.client_id, a.name, a.description,
                   a.application_uri, o.username
            FROM answered g JOIN oauthapplication a ON a.id = g.application_id
            JOIN "user" o ON o.id = a.organization_id
            """,
            {
                "user": user_id,
                "uuid": uuid,
                "client_id": client_id,
                "redirect_uri": redirect_uri,
                "scope": None if scopes is None else " ".join(scopes),
            },
        )
        if not rows:
            raise AssignmentUnknown(f"you have no assigned authorization {uuid}")
        return Assignment(*rows[0])

    def list(self, user_id: int) -> list[Assignment]:
        """Return the user's open assignments, oldest first."""
        rows = self._database.read(
            """
            SELECT g.uuid, g.scope, g.redirect_uri, a.client_id, a.name, a.description,
                   a.application_uri, o.username
            FROM oauthassignedauthorization g JOIN oauthapplication a ON a.id = g.application_id
            JOIN "user" o ON o.id = a.organization_id
            WHERE g.user_id = %s ORDER BY g.id
            """,
            [user_id],
        )
        return [Assignment(*row) for row in rows]

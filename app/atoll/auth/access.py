"""Who may do what with a repository, and the question put to the database in one round trip."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.passwords import verify_password
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import RepositoryName

PULL, PUSH, DELETE = "pull", "push", "delete"
_ROLE_ACTIONS = {
    "read": {PULL},
    "write": {PULL, PUSH, DELETE},
    "admin": {PULL, PUSH, DELETE},
}

# For each repository that is asked about: does the namespace exist, may the user create in it, and
# the user's best role. One row comes back even where nothing is asked about.
_QUESTION = """
WITH actor AS (
    SELECT id, username, password_hash FROM "user"
    WHERE username = %(username)s AND enabled AND NOT organization
), asked AS (
    SELECT * FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS a (namespace, name)
), found AS (
    SELECT a.namespace, a.name, n.id IS NOT NULL AS namespace_exists, r.visibility,
           coalesce(n.id = actor.id, false) OR EXISTS (
               SELECT FROM team t JOIN teammember m ON m.team_id = t.id
               WHERE t.organization_id = n.id AND m.user_id = actor.id AND t.role = 'admin'
           ) AS owner,
           EXISTS (
               SELECT FROM team t JOIN teammember m ON m.team_id = t.id
               WHERE t.organization_id = n.id AND m.user_id = actor.id AND t.role = 'creator'
           ) AS creator,
           array(
               SELECT p.role FROM repositorypermission p
               WHERE p.repository_id = r.id AND (p.user_id = actor.id OR p.team_id IN (
                   SELECT m.team_id FROM teammember m WHERE m.user_id = actor.id))
           ) AS roles
    FROM asked a
    LEFT JOIN "user" n ON n.username = a.namespace
    LEFT JOIN repository r ON r.namespace_user_id = n.id AND r.name = a.name
    LEFT JOIN actor ON true
)
SELECT (SELECT password_hash FROM actor),
       coalesce((SELECT jsonb_agg(to_jsonb(found)) FROM found), '[]')
"""


class WrongCredentials(Exception):
    """No such user, or another password. Which of them is nobody's business."""


@dataclass(frozen=True)
class Grant:
    """The actions that somebody may do with a repository; `create` if a push may make it."""

    repository: RepositoryName
    actions: frozenset[str]


class Access:
    """Answers who may do what."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._database = database
        self._superusers = frozenset(bundle.super_users)
        self._superusers_full_access = bundle.feature_superusers_full_access
        self._create_namespace = bundle.create_namespace_on_push

    def grants(
        self, username: str | None, password: str | None, repositories: list[RepositoryName]
    ) -> list[Grant]:
        """Return what the user, or anybody if USERNAME is None, may do with REPOSITORIES.

        With a PASSWORD it is checked first: raises WrongCredentials. One round trip.
        """
        password_hash, found = self._database.read(
            _QUESTION,
            {
                "username": username,
                "namespaces": [repository.namespace for repository in repositories],
                "names": [repository.name for repository in repositories],
            },
        )[0]
        if password is not None and not verify_password(password_hash, password):
            raise WrongCredentials
        known = password_hash is not None
        return [self._grant(username if known else None, row) for row in found]

    def may_create(self, username: str, repository: RepositoryName) -> bool:
        """Tell whether a push by USERNAME may make REPOSITORY, which does not exist."""
        return PUSH in self.grants(username, None, [repository])[0].actions

    def _grant(self, username: str | None, row: dict[str, object]) -> Grant:
        repository = RepositoryName(str(row["namespace"]), str(row["name"]))
        actions: set[str] = set()
        exists = row["visibility"] is not None
        if row["visibility"] == "public":
            actions |= {PULL}
        if username is None:
            return Grant(repository, frozenset(actions))
        roles = row["roles"]
        for role in roles if isinstance(roles, list) else []:
            actions |= _ROLE_ACTIONS[role]
        full = self._superusers_full_access and username in self._superusers
        if row["owner"] or (full and row["namespace_exists"]):
            actions |= _ROLE_ACTIONS["admin"]
        if not exists and (row["creator"] or self._may_create_namespace(row)):
            actions |= _ROLE_ACTIONS["write"]
        return Grant(repository, frozenset(actions))

    def _may_create_namespace(self, row: dict[str, object]) -> bool:
        return self._create_namespace and not row["namespace_exists"]

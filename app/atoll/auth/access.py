"""Who may do what with a repository, and the question put to the database in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.auth.credentials import Credentials, SessionCredentials
from atoll.auth.passwords import HashingHooks
from atoll.auth.robot_rule import RobotRule
from atoll.auth.secrets import Cipher
from atoll.auth.throttle import Throttle
from atoll.config import Bundle
from atoll.db.replicas import Reads
from atoll.names import RepositoryName

PULL, PUSH, DELETE = "pull", "push", "delete"
READ, WRITE, ADMIN = "read", "write", "admin"
ROLES = (READ, WRITE, ADMIN)
_ROLE_ACTIONS = {
    READ: {PULL},
    WRITE: {PULL, PUSH, DELETE},
    ADMIN: {PULL, PUSH, DELETE},
}
# What a token of the API allows at most, by its scopes.
_SCOPE_ROLES = {"repo:read": READ, "repo:write": WRITE, "repo:admin": ADMIN}
# A repository in any other state is only pulled from.
NORMAL = "NORMAL"
CREATE_SCOPE, SUPERUSER_SCOPE = "repo:create", "super:user"
# An app-specific token is for pulling and pushing.
_APP_SCOPES = frozenset({"repo:read", "repo:write", CREATE_SCOPE})

# For each repository that is asked about: does the namespace exist, may the user create in it, and
# the user's best role. One row comes back even where nothing is asked about.
_QUESTION = """
WITH app AS (
    SELECT user_id, token_secret FROM appspecifictoken
    WHERE token_name = %(app_token)s AND (expires_at IS NULL OR expires_at > now())
), oauth AS (
    SELECT user_id, scope FROM oauthaccesstoken
    WHERE token_hash = %(oauth_hash)s AND expires_at > now()
), actor AS (
    SELECT u.id, u.username, u.email, u.password_hash, u.robot_secret,
           owner.username AS robot_owner,
           (SELECT token_secret FROM app) AS app_secret, (SELECT scope FROM oauth) AS scope
    FROM "user" u LEFT JOIN "user" owner ON owner.id = u.robot_owner_id
    WHERE (u.username = %(username)s OR u.id = (SELECT user_id FROM app)
           OR u.id = (SELECT user_id FROM oauth))
      AND (%(user_id)s::bigint IS NULL OR u.id = %(user_id)s)
      AND u.enabled AND NOT u.organization AND coalesce(owner.enabled, true)
), asked AS (
    SELECT * FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS a (namespace, name)
), found AS (
    SELECT a.namespace, a.name, n.id IS NOT NULL AS namespace_exists,
           coalesce(n.enabled, true) AS namespace_enabled, r.id AS repository_id,
           r.visibility, r.state,
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
    LEFT JOIN "user" n ON n.username = a.namespace AND n.robot_owner_id IS NULL
    LEFT JOIN repository r ON r.namespace_user_id = n.id AND r.name = a.name
    LEFT JOIN actor ON true
)
SELECT (SELECT to_jsonb(actor) FROM actor),
       coalesce((SELECT jsonb_agg(to_jsonb(found)) FROM found), '[]')
"""


class WrongCredentials(Exception):
    """No such user, or another password. Which of them is nobody's business."""


@dataclass(frozen=True)
class Principal:
    """Somebody who proved who they are. `scopes` is None for who is not limited by a token's.

    An `auditor` may see everything. Who is `read_only` changes nothing: auditors, whatever token
    they show.
    """

    id: int
    username: str
    email: str | None
    robot_owner: str | None
    scopes: frozenset[str] | None
    superuser: bool
    auditor: bool = False
    read_only: bool = False
    # Of the row that the credentials were checked with: a session is bound to that password.
    password_hash: str | None = field(default=None, repr=False)

    @property
    def sees_private(self) -> bool:
        """Whether the scopes of a token, if one was shown, allow private repositories at all."""
        return self.scopes is None or not self.scopes.isdisjoint(_SCOPE_ROLES)

    def has_scope(self, scope: str) -> bool:
        """Tell whether a token's scopes, if one was shown, allow SCOPE."""
        return self.scopes is None or scope in self.scopes


@dataclass(frozen=True)
class Grant:
    """The actions that somebody may do with a repository, and the role that they come from.

    A role on a repository that does not exist tells that its namespace is the user's. It is
    `personal` if not everybody has it. `id` is the repository's, None if it does not exist.
    """

    repository: RepositoryName
    actions: frozenset[str]
    role: str | None = None
    exists: bool = True
    writable: bool = True
    personal: bool = False
    id: int | None = None

    def allows(self, role: str) -> bool:
        """Tell whether what is held is ROLE or more."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)


class Access:
    """Answers who may do what."""

    def __init__(self, reads: Reads, bundle: Bundle, cipher: Cipher, throttle: Throttle) -> None:
        self._reads = reads
        self._cipher = cipher
        self._throttle = throttle
        self._superusers = bundle.superusers
        self._auditors = bundle.auditors
        self._anonymous = bundle.feature_anonymous_access
        self._robots = RobotRule.from_bundle(bundle)
        self._organizations_by_superusers = bundle.feature_superusers_org_creation_only
        self._superusers_full_access = bundle.feature_superusers_full_access
        self._create_namespace = bundle.create_namespace_on_push
        self._reserved = bundle.reserved_usernames

    @property
    def anonymous(self) -> bool:
        """Whether clients may read public repositories without logging in."""
        return self._anonymous

    def authenticate(
        self,
        credentials: Credentials | SessionCredentials | None,
        address: str,
        repositories: list[RepositoryName],
    ) -> tuple[Principal | None, list[Grant]]:
        """Return who shows CREDENTIALS, and what they may do with REPOSITORIES. One round trip.

        ADDRESS is the client's. Without credentials: what anybody may do. Raises WrongCredentials
        or TooManyFailures.
        """
        if credentials is None:
            return None, self._ask({}, repositories, None)[1]
        if isinstance(credentials, Credentials) and credentials.of_person:
            return self._authenticate_person(credentials, address, repositories)
        actor, grants = self._ask(credentials.parameters(), repositories, credentials)
        if actor is not None:
            return actor, grants
        if isinstance(credentials, SessionCredentials):
            # The session has ended.
            return self.authenticate(None, address, repositories)
        self._throttle.token_failed(address)
        raise WrongCredentials

    def _authenticate_person(
        self, credentials: Credentials, address: str, repositories: list[RepositoryName]
    ) -> tuple[Principal, list[Grant]]:
        username = credentials.username
        self._throttle.check(username, address)
        actor, grants = self._ask(
            credentials.parameters(),
            repositories,
            credentials,
            HashingHooks(
                before=lambda: self._throttle.check_again(username, address),
                on_mismatch=lambda: self._throttle.failed(username, address),
            ),
        )
        if actor is None:
            raise WrongCredentials
        self._throttle.succeeded(username, address)
        return actor, grants

    def grants(
        self,
        username: str | None,
        repositories: list[RepositoryName],
        *,
        user_id: int | None = None,
    ) -> list[Grant]:
        """Return the current permissions of a user, or of anonymous clients.

        Args:
            username: the user's name; None for anonymous clients.
            repositories: the repositories to look up.
            user_id: with an id, another account that has the same name counts as anonymous.

        Returns:
            A grant for each repository.
        """
        return self._ask({"username": username, "user_id": user_id}, repositories, None)[1]

    def _ask(
        self,
        parameters: Mapping[str, object],
        repositories: list[RepositoryName],
        credentials: Credentials | SessionCredentials | None,
        hooks: HashingHooks | None = None,
    ) -> tuple[Principal | None, list[Grant]]:
        # One row comes back always, also from a replica that does not know the user yet: then the
        # password is wrong, until the primary is back.
        row, found = self._reads.current(
            _QUESTION,
            {
                "username": None,
                "user_id": None,
                "app_token": None,
                "oauth_hash": None,
                **parameters,
                "namespaces": [repository.namespace for repository in repositories],
                "names": [repository.name for repository in repositories],
            },
        ).rows[0]
        if credentials is not None and not credentials.match(row, self._cipher, hooks):
            return None, []
        if row and row["robot_owner"] and not self._robots.allows(row["username"]):
            if credentials is not None:
                return None, []
            row = None
        app = isinstance(credentials, Credentials) and credentials.of_app
        principal = self._principal(row, _APP_SCOPES if app else None) if row else None
        return principal, [self._grant(principal, entry) for entry in found]

    def _principal(self, row: Mapping[str, Any], scopes: frozenset[str] | None) -> Principal:
        """Return who ROW describes, limited to SCOPES or to those of the API token in ROW."""
        if row["scope"] is not None:
            scopes = frozenset(row["scope"].split())
        username = row["username"]
        whole = scopes is None or SUPERUSER_SCOPE in scopes
        return Principal(
            row["id"],
            username,
            row["email"],
            row["robot_owner"],
            scopes,
            superuser=whole and username in self._superusers,
            auditor=whole and username in self._auditors,
            read_only=username in self._auditors,
            password_hash=row["password_hash"],
        )

    def _grant(self, principal: Principal | None, row: Mapping[str, Any]) -> Grant:
        repository = RepositoryName(str(row["namespace"]), str(row["name"]))
        exists = row["visibility"] is not None
        repository_id = row["repository_id"]
        if not row["namespace_enabled"]:
            return Grant(repository, frozenset(), None, exists, id=repository_id)
        role = self._role(principal, row)
        actions = set(_ROLE_ACTIONS[role]) if role else set()
        if principal and not exists and self._may_create(principal, row, role):
            actions |= _ROLE_ACTIONS[WRITE]
        elif not exists:
            actions -= _ROLE_ACTIONS[WRITE]
        writable = not exists or row["state"] == NORMAL
        if not writable or (principal and principal.read_only):
            actions &= {PULL}
        personal = role is not None and principal is not None and self._personal(principal, row)
        return Grant(
            repository, frozenset(actions), role, exists, writable, personal, repository_id
        )

    def _personal(self, principal: Principal, row: Mapping[str, Any]) -> bool:
        """Tell whether the role is more than everybody's."""
        everywhere = principal.auditor or (self._superusers_full_access and principal.superuser)
        return bool(row["roles"] or row["owner"] or everywhere)

    def _role(self, principal: Principal | None, row: Mapping[str, Any]) -> str | None:
        """Return the best role, of no more than the token's scopes allow."""
        held: list[str] = list(row["roles"])
        if row["visibility"] == "public":
            held.append(READ)
        if principal is None:
            return READ if self._anonymous and row["visibility"] == "public" else None
        full = principal.auditor or (self._superusers_full_access and principal.superuser)
        if row["owner"] or (full and row["namespace_exists"]):
            held.append(ADMIN)
        best = max(held, key=ROLES.index, default=None)
        if best is None or principal.scopes is None:
            return best
        allowed = [_SCOPE_ROLES[scope] for scope in principal.scopes if scope in _SCOPE_ROLES]
        most = max(allowed, key=ROLES.index, default=None)
        if most is None:
            return READ if row["visibility"] == "public" else None
        return min(best, most, key=ROLES.index)

    def _may_create(self, principal: Principal, row: Mapping[str, Any], role: str | None) -> bool:
        if principal.read_only or not principal.has_scope(CREATE_SCOPE):
            return False
        if not row["namespace_exists"]:
            superusers_only = (
                self._organizations_by_superusers or row["namespace"] in self._reserved
            )
            if superusers_only and not principal.superuser:
                return False
            return self._create_namespace and principal.robot_owner is None
        # Scopes limit the role: an owner's token may push if it may write and create.
        owned = bool(row["owner"]) and role == WRITE
        return bool(row["creator"]) or owned or role == ADMIN

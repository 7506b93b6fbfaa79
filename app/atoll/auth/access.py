"""Authentication and repository permissions, both answered by one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atoll.auth.credentials import Credentials, SessionCredentials
from atoll.auth.organization_roles import Organization, organization_with_roles
from atoll.auth.passwords import HashingHooks
from atoll.auth.robot_rule import RobotRule
from atoll.auth.secrets import Cipher
from atoll.auth.throttle import Throttle
from atoll.config import Bundle
from atoll.db.replicas import Reads
from atoll.db.statement import Statement
from atoll.names import RepositoryName

PULL, PUSH, DELETE = "pull", "push", "delete"
READ, WRITE, ADMIN = "read", "write", "admin"
ROLES = (READ, WRITE, ADMIN)
_ROLE_ACTIONS = {
    READ: {PULL},
    WRITE: {PULL, PUSH, DELETE},
    ADMIN: {PULL, PUSH, DELETE},
}
# The highest role that each scope of an API token allows.
_SCOPE_ROLES = {"repo:read": READ, "repo:write": WRITE, "repo:admin": ADMIN}
# Repositories in any other state are read-only, except that the robot of a mirror changes it.
NORMAL, MIRROR = "NORMAL", "MIRROR"
CREATE_SCOPE, SUPERUSER_SCOPE = "repo:create", "super:user"
# App-specific tokens are limited to pulling and pushing.
_APP_SCOPES = frozenset({"repo:read", "repo:write", CREATE_SCOPE})

# Return the account that the credentials belong to, and for each requested repository, in their
# order, the state of its namespace, the account's roles, and its right to create repositories.
# Returns exactly one row, also without an account or requested repositories.
_PERMISSIONS = """
WITH app_token AS (
    SELECT user_id, token_secret FROM appspecifictoken
    WHERE token_name = %(app_token)s AND (expires_at IS NULL OR expires_at > now())
), oauth_token AS (
    SELECT user_id, scope FROM oauthaccesstoken
    WHERE token_hash = %(oauth_hash)s AND expires_at > now()
), actor AS (
    SELECT u.id, u.username, u.email, u.password_hash, u.robot_secret,
           owner.username AS robot_owner,
           (SELECT token_secret FROM app_token) AS app_secret,
           (SELECT scope FROM oauth_token) AS scope
    FROM "user" u LEFT JOIN "user" owner ON owner.id = u.robot_owner_id
    WHERE (u.username = %(username)s OR u.id = (SELECT user_id FROM app_token)
           OR u.id = (SELECT user_id FROM oauth_token))
      AND (%(user_id)s::bigint IS NULL OR u.id = %(user_id)s)
      AND u.enabled AND NOT u.organization AND coalesce(owner.enabled, true)
), requested AS (
    SELECT * FROM unnest(%(namespaces)s::text[], %(names)s::text[]) WITH ORDINALITY
        AS a (namespace, name, position)
), repository_roles AS (
    SELECT a.position, a.namespace, a.name, n.id IS NOT NULL AS namespace_exists,
           coalesce(n.enabled, true) AS namespace_enabled, r.id AS repository_id,
           r.visibility, r.state,
           (SELECT m.internal_robot_id FROM repomirrorconfig m
            WHERE m.repository_id = r.id) AS mirror_robot,
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
    FROM requested a
    LEFT JOIN "user" n ON n.username = a.namespace AND n.robot_owner_id IS NULL
    LEFT JOIN repository r ON r.namespace_user_id = n.id AND r.name = a.name
    LEFT JOIN actor ON true
)
SELECT (SELECT to_jsonb(actor) FROM actor),
       coalesce((SELECT jsonb_agg(to_jsonb(repository_roles) ORDER BY position)
                 FROM repository_roles), '[]')
"""
_PERMISSIONS_QUERY = Statement(_PERMISSIONS)

# Return also the organization of a page, with the account's roles.
_PAGE_QUERY = Statement(f"""{_PERMISSIONS},
       (SELECT to_jsonb(found) FROM (
           {organization_with_roles("(SELECT id FROM actor)")}
       ) found)
""")


class WrongCredentials(Exception):
    """Unknown user or wrong password; the two are deliberately not distinguished."""


@dataclass(frozen=True)
class Principal:
    """An authenticated user or robot.

    Attributes:
        id: The account's id.
        username: The account's name.
        email: The account's e-mail address.
        robot_owner: The namespace of a robot; None for users.
        scopes: The scopes of the OAuth or app-specific token; None if no token limits the account.
        superuser: Whether the account has superuser rights with these credentials.
        auditor: Whether the account may read everything with these credentials.
        read_only: Whether all changes are refused, which holds for auditors with any token.
        password_hash: The hash that the credentials were checked against. Sessions are bound to it.
    """

    id: int
    username: str
    email: str | None
    robot_owner: str | None
    scopes: frozenset[str] | None
    superuser: bool
    auditor: bool = False
    read_only: bool = False
    password_hash: str | None = field(default=None, repr=False)

    @property
    def can_read_private(self) -> bool:
        """Whether private repositories are visible with the token's scopes, if there is a token."""
        return self.scopes is None or not self.scopes.isdisjoint(_SCOPE_ROLES)

    def has_scope(self, scope: str) -> bool:
        """Return whether `scope` is granted; without a token, every scope is."""
        return self.scopes is None or scope in self.scopes


@dataclass(frozen=True)
class Grant:
    """The permissions of a principal, or of anonymous clients, on one repository.

    Attributes:
        repository: The repository's name.
        actions: The permitted actions.
        role: The role that permits them. On a repository that does not exist, a role means that
            the principal administers the namespace.
        exists: Whether the repository exists.
        writable: Whether the state of the repository permits changes by users.
        personal: Whether the role goes beyond what every user has.
        id: The repository's id; None if it does not exist.
        public: Whether the repository is public.
        state: The state of the repository; None if it does not exist.
    """

    repository: RepositoryName
    actions: frozenset[str]
    role: str | None = None
    exists: bool = True
    writable: bool = True
    personal: bool = False
    id: int | None = None
    public: bool = False
    state: str | None = None

    def allows(self, role: str) -> bool:
        """Return whether the role is `role` or a higher one."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)


class Access:
    """Authenticates clients and looks up their permissions."""

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
        """Verify credentials and return the principal with its grants, in one round trip.

        Args:
            credentials: The client's credentials; None for anonymous clients.
            address: The client's IP address, for throttling.
            repositories: The repositories to look up.

        Returns:
            The principal, None for anonymous clients and ended sessions, and a grant for each
            repository.

        Raises:
            WrongCredentials: The user is unknown or the secret is wrong.
            TooManyFailures: Earlier failures of this user or address exceed a limit.
        """
        if credentials is None:
            return None, self._query({}, repositories, None)[1]
        if isinstance(credentials, Credentials) and credentials.is_user_password:
            return self._authenticate_user(credentials, address, repositories)
        actor, grants = self._query(credentials.parameters(), repositories, credentials)
        if actor is not None:
            return actor, grants
        if isinstance(credentials, SessionCredentials):
            # The password changed or the account was disabled, which ends the session.
            return self.authenticate(None, address, repositories)
        self._throttle.token_failed(address)
        raise WrongCredentials

    def authenticate_page(
        self,
        session: SessionCredentials | None,
        repositories: list[RepositoryName],
        organization: str | None,
    ) -> tuple[Principal | None, list[Grant], Organization | None]:
        """Return the principal of a page with its grants and roles, in one round trip.

        Args:
            session: The session; None for anonymous clients.
            repositories: The repositories to look up.
            organization: The organization to look up; None for none.

        Returns:
            The principal, None for anonymous clients and ended sessions, a grant for each
            repository, and the organization with the principal's roles. The organization is None
            if it does not exist.
        """
        parameters = {**(session.parameters() if session else {}), "organization": organization}
        row, roles, found = self._read(_PAGE_QUERY, parameters, repositories)
        principal, grants = self._resolve(row, roles, session)
        if principal is None and session is not None:
            # The password changed or the account was disabled, which ends the session.
            return self.authenticate_page(None, repositories, organization)
        if found is None:
            return principal, grants, None
        name, email, expiration = found["username"], found["email"], found["tag_expiration_s"]
        return principal, grants, Organization(name, email, expiration, frozenset(found["roles"]))

    def _authenticate_user(
        self, credentials: Credentials, address: str, repositories: list[RepositoryName]
    ) -> tuple[Principal, list[Grant]]:
        username = credentials.username
        self._throttle.check(username, address)
        actor, grants = self._query(
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
            username: The user's name; None for anonymous clients.
            repositories: The repositories to look up.
            user_id: The expected id of the account. An account of the same name with another id
                is treated as anonymous.

        Returns:
            A grant for each repository.
        """
        return self._query({"username": username, "user_id": user_id}, repositories, None)[1]

    def _query(
        self,
        parameters: Mapping[str, object],
        repositories: list[RepositoryName],
        credentials: Credentials | SessionCredentials | None,
        hooks: HashingHooks | None = None,
    ) -> tuple[Principal | None, list[Grant]]:
        row, roles = self._read(_PERMISSIONS_QUERY, parameters, repositories)
        return self._resolve(row, roles, credentials, hooks)

    def _read(
        self,
        query: Statement,
        parameters: Mapping[str, object],
        repositories: list[RepositoryName],
    ) -> Sequence[Any]:
        # A replica that is read while the primary is unavailable may lack a new user. The query
        # returns a row nevertheless, and the credentials count as wrong.
        answer = self._reads.current(
            query,
            {
                "username": None,
                "user_id": None,
                "app_token": None,
                "oauth_hash": None,
                **parameters,
                "namespaces": [repository.namespace for repository in repositories],
                "names": [repository.name for repository in repositories],
            },
        )
        found: Sequence[Any] = answer.rows[0]
        return found

    def _resolve(
        self,
        row: Mapping[str, Any] | None,
        roles: list[Mapping[str, Any]],
        credentials: Credentials | SessionCredentials | None,
        hooks: HashingHooks | None = None,
    ) -> tuple[Principal | None, list[Grant]]:
        """Return the principal that the credentials prove, with its grants."""
        if credentials is not None and not credentials.match(row, self._cipher, hooks):
            return None, []
        if row and row["robot_owner"] and not self._robots.allows(row["username"]):
            if credentials is not None:
                return None, []
            row = None
        app = isinstance(credentials, Credentials) and credentials.is_app_token
        principal = self._principal(row, _APP_SCOPES if app else None) if row else None
        return principal, [self._grant(principal, entry) for entry in roles]

    def _principal(self, row: Mapping[str, Any], scopes: frozenset[str] | None) -> Principal:
        """Return the principal of a row, limited to `scopes` or to the scopes in the row."""
        if row["scope"] is not None:
            scopes = frozenset(row["scope"].split())
        username = row["username"]
        unrestricted = scopes is None or SUPERUSER_SCOPE in scopes
        return Principal(
            row["id"],
            username,
            row["email"],
            row["robot_owner"],
            scopes,
            superuser=unrestricted and username in self._superusers,
            auditor=unrestricted and username in self._auditors,
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
        mirroring = (
            row["state"] == MIRROR and principal is not None and principal.id == row["mirror_robot"]
        )
        if not (writable or mirroring) or (principal and principal.read_only):
            actions &= {PULL}
        personal = role is not None and principal is not None and self._personal(principal, row)
        return Grant(
            repository,
            frozenset(actions),
            role,
            exists,
            writable,
            personal,
            repository_id,
            row["visibility"] == "public",
            row["state"],
        )

    def _personal(self, principal: Principal, row: Mapping[str, Any]) -> bool:
        """Return whether the role goes beyond what every user has."""
        everywhere = principal.auditor or (self._superusers_full_access and principal.superuser)
        return bool(row["roles"] or row["owner"] or everywhere)

    def _role(self, principal: Principal | None, row: Mapping[str, Any]) -> str | None:
        """Return the highest role held, limited by the token's scopes."""
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
        # An owner's token with the scopes repo:write and repo:create has the role write here.
        owned = bool(row["owner"]) and role == WRITE
        return bool(row["creator"]) or owned or role == ADMIN

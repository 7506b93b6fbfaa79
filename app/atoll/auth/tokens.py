"""Bearer tokens of the registry: the user, and the allowed actions on each repository.

Tokens are signed with a key derived from a secret that all sites share: every site accepts a token
issued by any other one, without a request to it or to the database.
Format: Docker registry token specification (claims `sub`, `aud`, `access`). An entry of `access`
carries the repository's id as well: a name can belong to another repository later. An entry without
an id, for a repository that did not exist yet, grants nothing by itself; the current permissions of
the user (`uid`) are looked up when it is used.
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jwt

from atoll.auth.access import Grant
from atoll.config import Bundle
from atoll.names import RepositoryName

LIFE_SECONDS = 3600
_ALGORITHM = "HS256"
_ISSUER = "atoll"
_LEEWAY_SECONDS = 30
_CATALOG = {"type": "registry", "name": "catalog", "actions": ["*"]}


class InvalidToken(Exception):
    """A token that is malformed, expired, or not signed by this registry."""


@dataclass(frozen=True)
class Identity:
    """The user of a valid token, and its actions by repository.

    Attributes:
        username: the user's name; None for anonymous clients.
        actions: the actions by the repository's full name.
        ids: the id of each of these repositories that existed when the token was issued.
        user_id: the user's id; None also in tokens of earlier versions.
        catalog: whether a superuser or auditor asked for the catalog of all repositories.
        public_only: whether private repositories are not listed and not mounted from without being
            named, because the scopes of an OAuth token do not allow to read them.
    """

    username: str | None
    actions: dict[str, frozenset[str]]
    ids: dict[str, int] = field(default_factory=dict)
    user_id: int | None = None
    catalog: bool = False
    public_only: bool = False

    def may(self, action: str, repository: RepositoryName) -> bool:
        """Return whether the token names ACTION on REPOSITORY."""
        return action in self.actions.get(str(repository), frozenset())


def signing_key(bundle: Bundle, purpose: str) -> bytes:
    """Return the key for PURPOSE, derived from the bundle's secret; other purpose, other key."""
    secret = bundle.secret_key or bundle.database_secret_key
    if secret is None:
        raise ValueError("the bundle has no secret; see atoll.auth.signing")
    return hmac.new(secret.get_secret_value().encode(), purpose.encode(), hashlib.sha256).digest()


class Tokens:
    """Makes and reads tokens for one audience, the registry's name."""

    def __init__(
        self, key: bytes, audience: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._audience = audience
        self._clock = clock

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Tokens:
        """Return the tokens of the registry that the bundle describes."""
        return cls(signing_key(bundle, "registry token"), bundle.server_hostname)

    @property
    def audience(self) -> str:
        """The `service` that the tokens are for."""
        return self._audience

    def issue(
        self,
        username: str | None,
        grants: Iterable[Grant],
        *,
        user_id: int | None = None,
        catalog: bool = False,
        public_only: bool = False,
    ) -> tuple[str, int]:
        """Return a token, and the second since 1970 at which it was issued.

        Args:
            username: the user's name; None for anonymous clients.
            grants: the actions for each repository.
            user_id: the user's id.
            catalog: whether all repositories may be listed.
            public_only: whether only public repositories may be listed.
        """
        now = int(self._clock())
        claims = {
            "iss": _ISSUER,
            "aud": self._audience,
            "sub": username or "",
            "uid": user_id,
            "public_only": public_only,
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
            "jti": uuid.uuid4().hex,
            "access": [
                {
                    "type": "repository",
                    "name": str(grant.repository),
                    "actions": sorted(grant.actions),
                    "id": grant.id,
                }
                for grant in grants
                if grant.actions
            ]
            + [_CATALOG] * catalog,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), now

    def read(self, token: str) -> Identity:
        """Return whom TOKEN names, or raise InvalidToken."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=_ISSUER,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken(str(error)) from error
        entries = [entry for entry in claims["access"] if entry["type"] == "repository"]
        actions: dict[str, frozenset[str]] = {}
        for entry in entries:
            held = actions.get(entry["name"], frozenset())
            actions[entry["name"]] = held.union(entry["actions"])
        ids = {entry["name"]: entry["id"] for entry in entries if entry.get("id") is not None}
        return Identity(
            claims["sub"] or None,
            actions,
            ids,
            claims.get("uid"),
            catalog=_CATALOG in claims["access"],
            public_only=claims.get("public_only", False),
        )

"""Bearer tokens of the registry: who, and what they may do with which repository.

A token is signed with a key that is derived from a secret that all sites share: made at one
site it holds at every other, also when that one is down, and no request needs the database for it.
Format: Docker registry token specification (claims `sub`, `aud`, `access`).
"""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jwt

from atoll.auth.access import Grant
from atoll.config import Bundle
from atoll.names import RepositoryName

LIFE_SECONDS = 3600
_ALGORITHM = "HS256"
_ISSUER = "atoll"
_LEEWAY_SECONDS = 30


class InvalidToken(Exception):
    """A token that is malformed, expired, or not signed by this registry."""


@dataclass(frozen=True)
class Identity:
    """Whom a valid token names; `username` is None for anybody. Actions are by repository."""

    username: str | None
    actions: dict[str, frozenset[str]]

    def may(self, action: str, repository: RepositoryName) -> bool:
        """Tell whether the token allows ACTION on REPOSITORY."""
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
        self, username: str | None, grants: Iterable[Grant], *, catalog: bool = False
    ) -> tuple[str, int]:
        """Return a token, and the second since 1970 at which it was made.

        With CATALOG it says that all repositories may be listed.
        """
        now = int(self._clock())
        claims = {
            "iss": _ISSUER,
            "aud": self._audience,
            "sub": username or "",
            "iat": now,
            "nbf": now,
            "exp": now + LIFE_SECONDS,
            "jti": uuid.uuid4().hex,
            "access": [
                {
                    "type": "repository",
                    "name": str(grant.repository),
                    "actions": sorted(grant.actions),
                }
                for grant in grants
                if grant.actions
            ]
            + [{"type": "registry", "name": "catalog", "actions": ["*"]}] * catalog,
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
        actions = {entry["name"]: frozenset(entry["actions"]) for entry in claims["access"]}
        return Identity(claims["sub"] or None, actions)

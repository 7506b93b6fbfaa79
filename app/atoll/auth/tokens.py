"""Bearer tokens of the registry: the user, and the permitted actions on each repository.

Tokens are signed with a key derived from a secret that all sites share, so every site accepts the
tokens of all others without a request to them or to the database.

Format: Docker registry token specification (claims `sub`, `aud`, `access`). An entry of `access`
also carries the repository's id, because the name can belong to another repository later. An entry
without an id, for a repository that did not exist yet, grants nothing by itself; when it is used,
the current permissions of the user (`uid`) are looked up.

A client sends one token with every request of a pull or push, so each process remembers tokens that
it verified. A remembered token is found by the complete token, signature included. That comparison
need not take constant time: a dictionary compares two keys only if their hashes, which depend on a
secret of the process, are equal, so its duration says nothing about the beginning of a valid token.
Tokens belong to the signing key of their `Tokens` object and are forgotten with it; their time is
checked at each use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jwt

from atoll.auth.access import Grant
from atoll.bounded_cache import BoundedCache
from atoll.config import Bundle
from atoll.names import RepositoryName

LIFE_SECONDS = 3600
_ALGORITHM = "HS256"
_ISSUER = "atoll"
_LEEWAY_SECONDS = 30
# Verified tokens that a process remembers, and the number of characters of the longest one. A token
# for one repository has about 500.
_REMEMBERED_MAXIMUM, _REMEMBERED_LENGTH = 2048, 2048
_CATALOG = {"type": "registry", "name": "catalog", "actions": ["*"]}


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HEADER = _base64url(json.dumps({"alg": _ALGORITHM, "typ": "JWT"}).encode())


class InvalidToken(Exception):
    """A token is malformed, expired, or not signed by this registry."""


@dataclass(frozen=True)
class Identity:
    """The content of a valid token.

    Attributes:
        username: The user's name; None for anonymous clients.
        actions: The permitted actions by the repository's full name.
        ids: The ids of the repositories in `actions` that existed when the token was issued.
        user_id: The user's id; None also in tokens of earlier versions.
        catalog: Whether the token permits listing all repositories.
        public_only: Whether the scopes of the user's OAuth token exclude private repositories.
            They are then neither listed nor mounted from unless `actions` names them.
    """

    username: str | None
    actions: dict[str, frozenset[str]]
    ids: dict[str, int] = field(default_factory=dict)
    user_id: int | None = None
    catalog: bool = False
    public_only: bool = False

    def may(self, action: str, repository: RepositoryName) -> bool:
        """Return whether the token permits `action` on `repository`."""
        return action in self.actions.get(str(repository), frozenset())


@dataclass(frozen=True, slots=True)
class _Verified:
    """The content of a token with a valid signature, and the seconds between which it is valid."""

    identity: Identity
    not_before: float
    expires_at: float


def signing_key(bundle: Bundle, purpose: str) -> bytes:
    """Derive the key for a purpose from the bundle's secret."""
    secret = bundle.secret_key or bundle.database_secret_key
    if secret is None:
        raise ValueError("the bundle has no secret; see atoll.auth.signing")
    return hmac.new(secret.get_secret_value().encode(), purpose.encode(), hashlib.sha256).digest()


class Tokens:
    """Issues and reads tokens for one audience, the registry's host name."""

    def __init__(
        self, key: bytes, audience: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._audience = audience
        self._clock = clock
        self._verified: BoundedCache[str, _Verified] = BoundedCache(_REMEMBERED_MAXIMUM)

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Tokens:
        """Return the tokens of the registry that the bundle describes."""
        return cls(signing_key(bundle, "registry token"), bundle.server_hostname)

    @property
    def audience(self) -> str:
        """The `service` of the token specification."""
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
        """Issue a token.

        Args:
            username: The user's name; None for anonymous clients.
            grants: The permitted actions on each repository.
            user_id: The user's id.
            catalog: Whether the token permits listing all repositories.
            public_only: Whether the token excludes private repositories that it does not name.

        Returns:
            The token, and the time of issue in seconds since the epoch.
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
        return self._encode(claims), now

    def _encode(self, claims: dict[str, Any]) -> str:
        """Sign claims (RFC 7515). PyJWT looks for several formats of key first, at each call."""
        payload = json.dumps(claims, separators=(",", ":")).encode()
        signed = _HEADER + b"." + _base64url(payload)
        signature = hmac.digest(self._key, signed, "sha256")
        return (signed + b"." + _base64url(signature)).decode()

    def read(self, token: str) -> Identity:
        """Verify a token and return its content.

        Raises:
            InvalidToken: The token is malformed, expired, or not signed by this registry.
        """
        verified = self._verified.get(token)
        if verified is None:
            verified = self._verify(token)
            if len(token) <= _REMEMBERED_LENGTH:
                self._verified.put(token, verified)
        # With the limits of PyJWT, so that the first use of a token and later ones agree.
        if not verified.not_before <= self._clock() < verified.expires_at:
            self._verified.remove(token)
            raise InvalidToken("the token has expired, or is not valid yet")
        return verified.identity

    def _verify(self, token: str) -> _Verified:
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
        identity = Identity(
            claims["sub"] or None,
            actions,
            ids,
            claims.get("uid"),
            catalog=_CATALOG in claims["access"],
            public_only=claims.get("public_only", False),
        )
        begin = max(int(claims["iat"]), int(claims.get("nbf", 0)))
        return _Verified(identity, begin - _LEEWAY_SECONDS, int(claims["exp"]) + _LEEWAY_SECONDS)

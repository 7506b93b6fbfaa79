"""What somebody shows to get in, and whether it is right. The user name tells its kind, as in Quay.

`$app`: an app-specific token; `$oauthtoken`: a token of the API; `NAMESPACE+SHORT`: a robot;
anything else: a user's password, or its encrypted form.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.auth.passwords import HashingHooks, verify_password
from atoll.auth.secrets import Cipher, SecretUnreadable

APP_USERNAME, OAUTH_USERNAME = "$app", "$oauthtoken"
APP_TOKEN_HALF = 60
ROBOT_PURPOSE, APP_PURPOSE = "robot token", "app token"
_ENCRYPTED_PASSWORD = "v1$$"  # noqa: S105 - what an encrypted password begins with


def hash_token(token: str) -> str:
    """Return what is kept of a random token: being long, it needs no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def password_purpose(username: str) -> str:
    """Return the purpose that a user's encrypted password is bound to."""
    return f"password of {username}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def password_mark(password_hash: str) -> str:
    """Return what tells one password's hash from another, and nothing else of it."""
    return hashlib.sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True)
class SessionCredentials:
    """Who signed in before, and the mark of the password that it was with.

    They come out of a signed cookie, so there is nothing to guess; at worst the session has ended.
    """

    username: str
    mark: str = field(repr=False)

    def parameters(self) -> dict[str, object]:
        """Return what the actor is looked up by."""
        return {"username": self.username}

    def match(
        self,
        actor: Mapping[str, Any] | None,
        cipher: Cipher,
        hooks: HashingHooks | None = None,
    ) -> bool:
        """Return whether the password is still the same."""
        del cipher, hooks
        if actor is None or actor["password_hash"] is None:
            return False
        return _same(self.mark, password_mark(actor["password_hash"]))


@dataclass(frozen=True)
class Credentials:
    """A user name and a secret, which no representation shows."""

    username: str
    secret: str = field(repr=False)

    @property
    def of_person(self) -> bool:
        """Whether this is a user's own password, which can be guessed, unlike a token.

        Other names are those of tokens and robots. An impossible name counts as a user's, so that
        guesses with it are limited like others before anything is hashed.
        """
        return self.username not in {APP_USERNAME, OAUTH_USERNAME} and "+" not in self.username

    @property
    def of_app(self) -> bool:
        """Whether this is an app-specific token."""
        return self.username == APP_USERNAME

    @classmethod
    def bearer(cls, token: str) -> Credentials:
        """Return the credentials that a bearer token of the API is."""
        return cls(OAUTH_USERNAME, token)

    def parameters(self) -> dict[str, object]:
        """Return what the actor is looked up by; what does not apply is null."""
        app = self.username == APP_USERNAME
        oauth = self.username == OAUTH_USERNAME
        return {
            "username": None if app or oauth else self.username,
            "app_token": self.secret[:APP_TOKEN_HALF] if app else None,
            "oauth_hash": hash_token(self.secret) if oauth else None,
        }

    def match(
        self,
        actor: Mapping[str, Any] | None,
        cipher: Cipher,
        hooks: HashingHooks | None = None,
    ) -> bool:
        """Return whether the secret is that of ACTOR, which was looked up by `parameters`.

        HOOKS are called around the hash of a password; their exceptions are passed on.
        """
        if self.username == OAUTH_USERNAME:
            return actor is not None
        try:
            if self.username == APP_USERNAME:
                return actor is not None and _same(
                    cipher.decrypt(actor["app_secret"], APP_PURPOSE), self.secret[APP_TOKEN_HALF:]
                )
            if "+" in self.username:
                return actor is not None and _same(
                    cipher.decrypt(actor["robot_secret"], ROBOT_PURPOSE), self.secret
                )
        except SecretUnreadable:
            return False
        return verify_password(
            actor["password_hash"] if actor else None,
            self._password(cipher),
            hooks=hooks,
        )

    def _password(self, cipher: Cipher) -> str:
        if self.secret.startswith(_ENCRYPTED_PASSWORD):
            try:
                return cipher.decrypt(self.secret, password_purpose(self.username))
            except SecretUnreadable:
                pass
        return self.secret

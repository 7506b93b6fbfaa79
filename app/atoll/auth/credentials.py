"""Credentials and their verification. The user name determines their kind, as in Quay.

`$app`: an app-specific token; `$oauthtoken`: an API token; `NAMESPACE+NAME`: a robot; any other
name: a user's password, or its encrypted form.
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
# An app-specific token is a name, which is looked up, followed by a secret of the same length.
APP_TOKEN_HALF = 60
ROBOT_PURPOSE, APP_PURPOSE = "robot token", "app token"
_ENCRYPTED_PASSWORD = "v1$$"  # noqa: S105 - the prefix of encrypted passwords


def hash_token(token: str) -> str:
    """Return the stored hash of a random token, which is too long to need a slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def password_purpose(username: str) -> str:
    """Return the purpose that a user's encrypted password is bound to."""
    return f"password of {username}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def password_mark(password_hash: str) -> str:
    """Return a fingerprint of a password's hash that reveals nothing about it."""
    return hashlib.sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True)
class SessionCredentials:
    """The user of a session, and the fingerprint of the password that the session began with.

    Both come from a signed cookie, so they cannot be guessed and failures are not throttled.
    """

    username: str
    mark: str = field(repr=False)

    def parameters(self) -> dict[str, object]:
        """Return the query parameters that select the account."""
        return {"username": self.username}

    def match(
        self,
        actor: Mapping[str, Any] | None,
        cipher: Cipher,
        hooks: HashingHooks | None = None,
    ) -> bool:
        """Return whether the account's password is unchanged."""
        del cipher, hooks
        if actor is None or actor["password_hash"] is None:
            return False
        return _same(self.mark, password_mark(actor["password_hash"]))


@dataclass(frozen=True)
class Credentials:
    """A user name and a secret, which is left out of representations."""

    username: str
    secret: str = field(repr=False)

    @property
    def is_user_password(self) -> bool:
        """Whether the secret is a user's own password, which can be guessed, unlike a token.

        Invalid names count as users, so that guesses with them are throttled before a password is
        hashed.
        """
        return self.username not in {APP_USERNAME, OAUTH_USERNAME} and "+" not in self.username

    @property
    def is_app_token(self) -> bool:
        """Whether the secret is an app-specific token."""
        return self.username == APP_USERNAME

    @classmethod
    def bearer(cls, token: str) -> Credentials:
        """Return the credentials of an API request with a bearer token."""
        return cls(OAUTH_USERNAME, token)

    def parameters(self) -> dict[str, object]:
        """Return the query parameters that select the account; those that do not apply are None."""
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
        """Return whether the secret belongs to the account.

        Args:
            actor: The row that the query selected by `parameters`; None without such an account.
            cipher: Decrypts the stored secret of a token or robot.
            hooks: Called around the hashing of a password; their exceptions are passed on.
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

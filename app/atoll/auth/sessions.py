"""API sessions: a signed cookie, and a token against cross-site request forgery (CSRF).

A session is valid at every site and needs no lookup of its own: it is signed with a key that all
sites share, and bound to the password. Changing the password or disabling the account ends it.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt

from atoll.auth.credentials import SessionCredentials, password_mark
from atoll.auth.tokens import signing_key
from atoll.config import Bundle

LIFE_SECONDS = 12 * 3600
_ALGORITHM = "HS256"
_TOKEN_BYTES = 32


@dataclass(frozen=True)
class Session:
    """A session with its own CSRF token; `username` is None before a user signs in."""

    csrf_token: str
    username: str | None = None
    password_mark: str | None = None

    @property
    def credentials(self) -> SessionCredentials | None:
        """The credentials of the session's user; None before a user signs in."""
        if self.username is None or self.password_mark is None:
            return None
        return SessionCredentials(self.username, self.password_mark)

    def csrf_token_matches(self, token: str | None) -> bool:
        """Return whether `token` is the session's CSRF token."""
        return token is not None and hmac.compare_digest(
            token.encode(errors="replace"), self.csrf_token.encode()
        )


class Sessions:
    """Creates and reads session cookies."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Sessions:
        """Return the sessions that all sites with this bundle share."""
        return cls(signing_key(bundle, "session"))

    def begin(self, username: str | None = None, password_hash: str | None = None) -> Session:
        """Return a new session, bound to the hash of the user's password."""
        mark = None if password_hash is None else password_mark(password_hash)
        return Session(secrets.token_urlsafe(_TOKEN_BYTES), username, mark)

    def cookie(self, session: Session) -> str:
        """Return the cookie's value for a session."""
        claims = {
            "csrf": session.csrf_token,
            "sub": session.username or "",
            "mark": session.password_mark,
            "exp": int(self._clock()) + LIFE_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it is forged or expired."""
        try:
            claims = jwt.decode(
                cookie, self._key, algorithms=[_ALGORITHM], options={"require": ["exp", "csrf"]}
            )
        except jwt.InvalidTokenError:
            return None
        return Session(claims["csrf"], claims["sub"] or None, claims["mark"])

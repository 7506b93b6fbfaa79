"""Fresh login: dangerous forms require the password, or that it was given in the last 10 minutes.

A signed cookie records when the password was given. It is bound to the session and to the password,
so that it ends with either.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import falcon
import jwt

from atoll.auth.sessions import Session
from atoll.auth.tokens import signing_key
from atoll.config import Bundle
from atoll.web.api.errors import FreshLoginRequired, InsufficientScope
from atoll.web.api.session import PasswordLogin

COOKIE = "fresh_login"
LIFE_SECONDS = 600
_ALGORITHM = "HS256"


class FreshLogin:
    """Checks and records that the user of a session gave the password recently."""

    def __init__(
        self,
        key: bytes,
        login: PasswordLogin,
        *,
        https: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._login = login
        self._https = https
        self._clock = clock

    @classmethod
    def from_bundle(cls, bundle: Bundle, login: PasswordLogin) -> FreshLogin:
        """Return the fresh logins that all sites with this bundle accept."""
        https = bundle.preferred_url_scheme == "https"
        return cls(signing_key(bundle, "fresh login"), login, https=https)

    def is_fresh(self, req: falcon.Request, session: Session) -> bool:
        """Return whether the user of the session gave the password in the last 10 minutes."""
        try:
            claims = jwt.decode(
                req.cookies.get(COOKIE, ""),
                self._key,
                algorithms=[_ALGORITHM],
                options={"require": ["exp"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            return False
        bound = {name: claims.get(name) for name in ("session", "user", "mark")}
        return session.username is not None and (
            bound == _bound(session) and self._clock() < claims["exp"]
        )

    def require(
        self, req: falcon.Request, resp: falcon.Response, session: Session, password: str | None
    ) -> None:
        """Accept a fresh login, or verify the password and record it.

        Raises:
            FreshLoginRequired: The password is missing or wrong.
            TooManyFailures: Too many wrong passwords were given.
        """
        if self.is_fresh(req, session):
            return
        if not password or session.username is None:
            raise FreshLoginRequired
        try:
            self._login.begin(req, session.username, password)
        except InsufficientScope as error:
            raise FreshLoginRequired from error
        self.record(req, resp, session)

    def record(self, req: falcon.Request, resp: falcon.Response, session: Session) -> None:
        """Set the cookie that records that the user of the session gave the password now."""
        claims = {**_bound(session), "exp": int(self._clock()) + LIFE_SECONDS}
        resp.set_cookie(
            COOKIE,
            jwt.encode(claims, self._key, algorithm=_ALGORITHM),
            max_age=LIFE_SECONDS,
            path="/",
            secure=self._https or req.get_header("X-Forwarded-Proto") == "https",
            http_only=True,
            same_site="Strict",
        )


def _bound(session: Session) -> dict[str, str | None]:
    return {
        "session": session.csrf_token,
        "user": session.username,
        "mark": session.password_mark,
    }

"""Sessions: `csrf_token`, `signin` and `signout`, for scripts written for Quay."""

from __future__ import annotations

from typing import Any

import falcon
from pydantic import Field

from atoll.auth.access import Access, WrongCredentials
from atoll.auth.credentials import Credentials
from atoll.auth.sessions import Session, Sessions
from atoll.config import Bundle
from atoll.web.api.cookies import COOKIE, Cookies
from atoll.web.api.errors import ForgedRequest, InsufficientScope
from atoll.web.api.operation import CSRF_HEADER, Call, RequestModel, operation
from atoll.web.client_address import client_address


class CsrfToken:
    """`/csrf_token`."""

    def __init__(self, sessions: Sessions, cookies: Cookies) -> None:
        self._sessions = sessions
        self._cookies = cookies

    @operation("getCsrfToken", anonymous=True, before_login=True)
    def on_get(self, call: Call) -> Any:
        """Get the CSRF token of the session, which is started if there is none."""
        session = self._cookies.read(call.req) or self._sessions.begin()
        self._cookies.write(call.req, call.resp, session)
        return {"csrf_token": session.csrf_token}


class SignInBody(RequestModel):
    """Credentials of a user."""

    username: str = Field(max_length=255)
    password: str = Field(max_length=1024)


class PasswordLogin:
    """Starts sessions with passwords (FEATURE_DIRECT_LOGIN)."""

    def __init__(self, access: Access, sessions: Sessions, bundle: Bundle) -> None:
        self._access = access
        self._sessions = sessions
        self.enabled = bundle.feature_direct_login

    def begin(self, req: falcon.Request, username: str, password: str) -> Session:
        """Return a new session of a user.

        Raises:
            InsufficientScope: Passwords cannot start sessions, or this one is wrong.
            TooManyFailures: Earlier failures of this user or address exceed a limit.
        """
        credentials = Credentials(username, password)
        if not self.enabled or not credentials.is_user_password:
            raise InsufficientScope
        try:
            user, _ = self._access.authenticate(credentials, client_address(req), [])
        except WrongCredentials:
            user = None
        if user is None:
            raise InsufficientScope("Invalid Username or Password")
        return self._sessions.begin(user.username, user.password_hash)


class SignIn:
    """`signin`."""

    def __init__(self, login: PasswordLogin, cookies: Cookies) -> None:
        self._login = login
        self._cookies = cookies

    @operation("signinUser", body=SignInBody, anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """Start a session with a password."""
        session = self._cookies.read(call.req)
        if session is None or not session.csrf_token_matches(call.req.get_header(CSRF_HEADER)):
            raise ForgedRequest
        begun = self._login.begin(call.req, call.body.username, call.body.password)
        self._cookies.write(call.req, call.resp, begun)
        return {"success": True}


class SignOut:
    """`signout`."""

    @operation("logout", anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """End the session."""
        call.resp.unset_cookie(COOKIE, path="/", same_site="Lax")
        return {"success": True}

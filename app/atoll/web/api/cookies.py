"""Session cookies."""

from __future__ import annotations

import falcon

from atoll.auth.sessions import LIFE_SECONDS, Session, Sessions
from atoll.config import Bundle

COOKIE = "session"
NEXT_CSRF_HEADER = "X-Next-CSRF-Token"


class Cookies:
    """Write sessions to cookies, and read them."""

    def __init__(self, sessions: Sessions, bundle: Bundle) -> None:
        self._sessions = sessions
        self._https = bundle.preferred_url_scheme == "https"

    def read(self, req: falcon.Request) -> Session | None:
        """Return the request's session, or None if it has no valid one."""
        return self._sessions.read(req.cookies.get(COOKIE, ""))

    def write(self, req: falcon.Request, resp: falcon.Response, session: Session) -> None:
        """Set the session cookie and the CSRF token of the next request."""
        resp.set_cookie(
            COOKIE,
            self._sessions.cookie(session),
            max_age=LIFE_SECONDS,
            path="/",
            secure=self._https or req.get_header("X-Forwarded-Proto") == "https",
            http_only=True,
            same_site="Lax",
        )
        resp.set_header(NEXT_CSRF_HEADER, session.csrf_token)

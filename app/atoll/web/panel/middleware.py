"""Authentication of requests to pages, and the headers of pages."""

from __future__ import annotations

import threading
from typing import Any

import falcon

from atoll.audit.log import Audit
from atoll.auth.access import Access
from atoll.auth.sessions import Sessions
from atoll.names import RepositoryName
from atoll.web.api.cookies import Cookies
from atoll.web.api.errors import Unauthenticated
from atoll.web.api.forgery import READING, refuse_foreign_origin
from atoll.web.api.middleware import convert_parameter
from atoll.web.api.operation import Call
from atoll.web.external_url import ExternalUrls
from atoll.web.panel.api_calls import ApiCalls
from atoll.web.panel.fresh_login import FreshLogin
from atoll.web.panel.page import PageOptions
from atoll.web.panel.polls import Polls
from atoll.web.panel.rendering import Renderer
from atoll.web.panel.visit import Visit

# Pages that a process renders at the same time. Slow ones must not occupy all of its threads, which
# serve pulls and pushes as well.
_SLOTS = 4
_AREAS = frozenset(
    {"", "signin", "signout", "repository", "organization", "user", "search", "superuser", "panel"}
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_panel(path: str) -> bool:
    """Return whether a path belongs to the panel, so that its errors are pages."""
    return path.split("/", 2)[1] in _AREAS if path.startswith("/") else False


class PanelMiddleware:
    """Falcon middleware that authenticates the caller of a page by the session cookie.

    Before a responder runs, it stores a `Visit` in the request's context, from which the decorators
    of `page` read it. One statement authenticates the caller and returns the grant on the
    repository, or the roles in the organization, in the path. Resources without these decorators
    are not affected.
    """

    def __init__(
        self,
        *,
        access: Access,
        audit: Audit,
        external_urls: ExternalUrls,
        cookies: Cookies,
        sessions: Sessions,
        calls: ApiCalls,
        renderer: Renderer,
        fresh_login: FreshLogin,
        slots: int = _SLOTS,
    ) -> None:
        self._access = access
        self._audit = audit
        self._external_urls = external_urls
        self._cookies = cookies
        self._sessions = sessions
        self._calls = calls
        self._renderer = renderer
        self._fresh_login = fresh_login
        self._polls = Polls()
        self._free = threading.BoundedSemaphore(slots)

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Set the security headers of every page, including errors."""
        if is_panel(req.path):
            resp.set_headers(HEADERS)

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: dict[str, Any],
    ) -> None:
        """Authenticate the caller of a page and convert the path parameters."""
        responder = getattr(resource, f"on_{req.method.lower()}", None)
        options: PageOptions | None = getattr(responder, "panel", None)
        if options is None:
            return
        self._take_slot(req)
        if self._polls.answer(req, resp):
            return
        refuse_foreign_origin(req, self._external_urls)
        params.update({name: convert_parameter(req, name, text) for name, text in params.items()})
        repository: RepositoryName | None = params.pop("repository", None)
        session = self._cookies.read(req)
        orgname: str | None = params.get("orgname")
        principal, grants, organization = self._access.authenticate_page(
            session.credentials if session else None,
            [] if repository is None else [repository],
            orgname,
        )
        if session is None or (principal is None and session.username is not None):
            # The forms of pages before a login, above all that of the login, need a CSRF token.
            session = self._sessions.begin()
            if req.method in READING:
                self._cookies.write(req, resp, session)
        call = Call(req, resp, principal, grants[0] if grants else None, self._audit)
        call.session = session if principal is not None else None
        if organization is not None:
            call.organizations[organization.name] = organization
        req.context.visit = Visit(
            req, resp, call, session, self._calls, self._renderer, self._fresh_login, self._polls
        )
        if principal is None and not self._access.anonymous and not options.before_login:
            raise Unauthenticated

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        """Let another page be rendered."""
        del resp, resource, req_succeeded
        if getattr(req.context, "panel_slot", False):
            self._free.release()

    def _take_slot(self, req: falcon.Request) -> None:
        """Raise HTTPServiceUnavailable if too many pages are being rendered."""
        if not self._free.acquire(blocking=False):
            raise falcon.HTTPServiceUnavailable(
                description="too many pages are requested at the same time; try again",
                retry_after=1,
            )
        req.context.panel_slot = True

"""Authentication of API requests, and the headers of API responses."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import falcon

from atoll.audit.export_requests import PATH as EXPORTS_PATH
from atoll.audit.log import Audit
from atoll.auth.access import Access
from atoll.auth.credentials import Credentials
from atoll.names import RepositoryName
from atoll.notifications.authorized_addresses import PATH as AUTHORIZATION_PATH
from atoll.web.api import errors
from atoll.web.api.cookies import NEXT_CSRF_HEADER, Cookies
from atoll.web.api.forgery import BEARER, READING, refuse_foreign_origin
from atoll.web.api.operation import Call, Operation
from atoll.web.basic_auth import basic_credentials
from atoll.web.client_address import client_address
from atoll.web.errors import ReadOnly
from atoll.web.external_url import ExternalUrls

PREFIX = "/api/v1"
# Quay serves the others outside of `/api/v1`, and scripts use them.
_PREFIXES = (PREFIX, "/oauth/", "/csrf_token", EXPORTS_PATH, AUTHORIZATION_PATH)
# Pages of other sites must not frame, execute or sniff a response. Caches must not store it: it may
# contain a token.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class ApiMiddleware:
    """Falcon middleware that authenticates the caller of an API operation.

    Before a responder runs, it stores a `Call` in the request's context, from which the `operation`
    decorator reads it. Resources of other protocols are not affected.
    """

    def __init__(
        self,
        access: Access,
        audit: Audit,
        external_urls: ExternalUrls,
        cookies: Cookies,
        *,
        read_only: bool,
        anonymous: bool,
    ) -> None:
        self._access = access
        self._audit = audit
        self._external_urls = external_urls
        self._cookies = cookies
        self._read_only = read_only
        self._anonymous = anonymous

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Set the security headers of every response of the API, including errors."""
        if is_api(req.path):
            resp.set_headers(_HEADERS)

    def process_resource(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        params: dict[str, Any],
    ) -> None:
        """Authenticate the caller and convert the path parameters.

        The repository in the path becomes the call's grant instead of a parameter. Methods that the
        resource does not serve are left to Falcon's default responders.
        """
        responder = getattr(resource, f"on_{req.method.lower()}", None)
        described: Operation | None = getattr(responder, "operation", None)
        if described is None:
            return
        params.update({name: convert_parameter(req, name, text) for name, text in params.items()})
        if self._read_only and req.method not in READING:
            raise ReadOnly
        refuse_foreign_origin(req, self._external_urls)
        repository: RepositoryName | None = params.pop("repository", None)
        credentials = _credentials(req)
        if credentials is not None and credentials.is_app_token:
            raise errors.InsufficientScope(
                "an app-specific token is for pulling and pushing; use an OAuth token or a password"
                " for the API"
            )
        session = self._cookies.read(req) if credentials is None else None
        principal, grants = self._access.authenticate(
            session.credentials if session else credentials,
            client_address(req),
            [] if repository is None else [repository],
        )
        if principal is None and not self._anonymous and not described.before_login:
            raise errors.Unauthenticated
        if session is not None and principal is not None:
            resp.set_header(NEXT_CSRF_HEADER, session.csrf_token)
        call = Call(req, resp, principal, grants[0] if grants else None, self._audit)
        call.session = session if principal is not None else None
        req.context.call = call


def is_api(path: str) -> bool:
    """Return whether errors at a path have the API's format."""
    return path.startswith(_PREFIXES)


def convert_parameter(req: falcon.Request, name: str, text: str) -> Any:
    """Convert a path parameter to its type. Raises NotFound if no object can have this value."""
    if name == "repository":
        if "/" not in text:
            raise errors.NotFound(f"there is no repository '{text[:200]}'; write NAMESPACE/NAME")
        if not RepositoryName.fits(text):
            raise errors.NotFound(errors.not_found_message(req.path))
        return RepositoryName.parse(text)
    if name == "uuid":
        try:
            return UUID(text)
        except ValueError as error:
            raise errors.NotFound(f"'{text[:200]}' is not a UUID") from error
    return text


def _credentials(req: falcon.Request) -> Credentials | None:
    header = req.get_header("Authorization") or ""
    if header.lower().startswith(BEARER):
        return Credentials.bearer(header[len(BEARER) :].strip())
    return basic_credentials(req)

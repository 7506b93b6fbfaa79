"""From a path below `/api/v1` to a resource: one sink, for names of repositories have slashes."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import falcon

from atoll.audit.log import Audit
from atoll.auth.access import Access
from atoll.auth.credentials import Credentials
from atoll.names import RepositoryName
from atoll.web.addresses import client_address
from atoll.web.api import errors
from atoll.web.api.cookies import NEXT_CSRF_HEADER, Cookies
from atoll.web.api.forgery import BEARER, READING, refuse_foreign_origin
from atoll.web.api.operation import Call
from atoll.web.authority import Authority
from atoll.web.credentials import basic_credentials
from atoll.web.errors import ReadOnly

PREFIX = "/api/v1"
# No page of another site may show a response in a frame, run it, or guess its type; and no cache
# may keep it, as it may hold a token.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PARAMETER = re.compile(r"\{(\w+)\}")


class Api:
    """Serves RESOURCES, lists of (path, resource) by prefix; the first path that fits is taken."""

    def __init__(
        self,
        resources: dict[str, list[tuple[str, object]]],
        access: Access,
        audit: Audit,
        authority: Authority,
        cookies: Cookies,
        *,
        read_only: bool,
        anonymous: bool,
    ) -> None:
        self._resources = [
            (_pattern(prefix + path), resource)
            for prefix, below in resources.items()
            for path, resource in below
        ]
        self._access = access
        self._audit = audit
        self._authority = authority
        self._cookies = cookies
        self._read_only = read_only
        self._anonymous = anonymous

    def __call__(self, req: falcon.Request, resp: falcon.Response, **_found: Any) -> None:
        """Answer one request."""
        resp.set_headers(_HEADERS)
        try:
            self._serve(req, resp)
        except Exception as error:
            errors.write(req, resp, error, self._authority)

    def _serve(self, req: falcon.Request, resp: falcon.Response) -> None:
        responder, found = self._find(req)
        if self._read_only and req.method not in READING:
            raise ReadOnly
        refuse_foreign_origin(req, self._authority)
        repositories = [found["repository"]] if "repository" in found else []
        shown = _credentials(req)
        if shown is not None and shown.of_app:
            raise errors.InsufficientScope(
                "an app-specific token is for pulling and pushing; use an OAuth token or a password"
                " for the API"
            )
        session = self._cookies.read(req) if shown is None else None
        principal, grants = self._access.authenticate(
            session.credentials if session else shown, client_address(req), repositories
        )
        if principal is None and not self._anonymous and not responder.operation.before_login:
            raise errors.Unauthenticated
        if session is not None and principal is not None:
            resp.set_header(NEXT_CSRF_HEADER, session.csrf_token)
        call = Call(req, resp, principal, grants[0] if grants else None, self._audit)
        call.session = session if principal is not None else None
        found.pop("repository", None)
        responder(call, **found)

    def _find(self, req: falcon.Request) -> tuple[Any, dict[str, Any]]:
        """Return what answers the request, and what its path holds."""
        for pattern, resource in self._resources:
            match = pattern.fullmatch(req.path)
            if match is None:
                continue
            responder = getattr(resource, f"on_{req.method.lower()}", None)
            if responder is None:
                raise falcon.HTTPMethodNotAllowed(
                    [name[3:].upper() for name in dir(resource) if name.startswith("on_")]
                )
            return responder, {name: _typed(name, text) for name, text in match.groupdict().items()}
        raise errors.NotFound(f"there is nothing at {req.path[:200]}")


def _pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a path; a slash at the end is optional, as scripts write both."""
    parts = _PARAMETER.split(path.rstrip("/"))
    text = "".join(
        re.escape(part)
        if number % 2 == 0
        else (rf"(?P<{part}>.+)" if part == "repository" else rf"(?P<{part}>[^/]+)")
        for number, part in enumerate(parts)
    )
    return re.compile(text + "/?")


def _typed(name: str, text: str) -> Any:
    if name == "repository":
        # A path below a repository that nothing serves comes here, too: as part of the name.
        if "/" not in text or not RepositoryName.fits(text):
            raise errors.NotFound(f"there is no repository '{text[:200]}'; write NAMESPACE/NAME")
        return RepositoryName.parse(text)
    if name == "uuid":
        try:
            return UUID(text)
        except ValueError as error:
            raise errors.NotFound(f"'{text[:200]}' is no identifier") from error
    return text


def _credentials(req: falcon.Request) -> Credentials | None:
    header = req.get_header("Authorization") or ""
    if header.lower().startswith(BEARER):
        return Credentials.bearer(header[len(BEARER) :].strip())
    return basic_credentials(req)

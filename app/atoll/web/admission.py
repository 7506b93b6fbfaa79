"""Decide from the headers alone whether, and up to which size, a request's body is received."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import dataclass
from typing import Any, cast

import falcon
from waitress.parser import HTTPRequestParser

from atoll.names import RepositoryName
from atoll.registry.manifest_format import MAXIMUM_SIZE as MANIFEST_MAXIMUM
from atoll.web import errors
from atoll.web.bearer_auth import TokenAuth
from atoll.web.middleware import REQUESTS, method_label
from atoll.web.router import Router
from atoll.web.spool import Refused
from atoll.web.v2 import routes

log = logging.getLogger(__name__)

# nginx has the same limits; these apply if it interprets a path differently.
SMALL_BODY = 64 * 1024
API_BODY = 1024 * 1024
_API = ("/api/", "/oauth/")


@dataclass(frozen=True)
class _Limit:
    """The maximum size of a body, in bytes."""

    maximum: int


class BodyAdmission:
    """The registry's policy for request bodies: a push's body needs a token that permits pushes.

    Signature, expiry and scope of the token are checked before the body is received, and again by
    the resource. Other requests may have small bodies only.
    """

    def __init__(self, auth: TokenAuth, maximum_layer_size: int) -> None:
        self._auth = auth
        self._pushes = Router()
        for template, maximum in (
            (routes.UPLOADS, maximum_layer_size),
            (routes.UPLOAD, maximum_layer_size),
            (routes.MANIFEST, MANIFEST_MAXIMUM),
        ):
            slash = template in routes.OPTIONAL_SLASH
            self._pushes.add_route(template, _Limit(maximum), optional_slash=slash)

    def __call__(self, request: HTTPRequestParser) -> int:
        """Return the maximum size of a request's body in bytes, or raise Refused."""
        path: str = request.path  # type: ignore[attr-defined]
        if not {".", ".."}.isdisjoint(path.split("/")):
            # nginx selects its limits by the normalized path, which lacks these segments.
            body = errors.envelope("UNSUPPORTED", "the path must have no segments '.' and '..'")
            raise Refused(falcon.HTTP_BAD_REQUEST, {}, body)
        if found := self._pushes.find(path):
            limit, _, params, template = found
            self._require_push(request, params["name"], template)
            return cast(_Limit, limit).maximum
        return API_BODY if path.startswith(_API) else SMALL_BODY

    def _require_push(self, request: HTTPRequestParser, name: str, template: str) -> None:
        req, resp = falcon.Request(_environ(request)), falcon.Response()
        try:
            self._auth.check_push(req, RepositoryName.parse(name))
        except Exception as error:
            errors.handle(req, resp, error, {})
            REQUESTS.labels(method_label(req.method), template, str(resp.status_code)).inc()
            headers = {"Docker-Distribution-API-Version": "registry/2.0", **resp.headers}
            status = falcon.code_to_http_status(resp.status_code)
            raise Refused(status, headers, resp.media) from error


def _environ(request: HTTPRequestParser) -> dict[str, Any]:
    """Return a WSGI environment of the request's headers, without its body."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.command,
        "PATH_INFO": request.path,  # type: ignore[attr-defined]
        "QUERY_STRING": request.query,  # type: ignore[attr-defined]
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": request.url_scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    return environ | {f"HTTP_{name}": value for name, value in request.headers.items()}

"""Error pages."""

from __future__ import annotations

from urllib.parse import quote

import falcon

from atoll.web.api import errors as api_errors
from atoll.web.panel.page import redirect
from atoll.web.panel.rendering import Renderer
from atoll.web.panel.visit import Visit

_UNAUTHORIZED = 401
_TITLES = {
    400: "This request is invalid",
    403: "You have no permission for this",
    404: "There is nothing here",
    405: "This request is not supported",
    409: "This conflicts with the current state",
    413: "This is too large",
    429: "Too many requests",
    503: "The registry cannot serve this now",
}


class ErrorPages:
    """Writes error pages, and redirects callers who must sign in."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def write(self, req: falcon.Request, resp: falcon.Response, error: Exception) -> None:
        """Write the response for an exception that a page raised."""
        described = api_errors.describe(req, resp, error)
        visit: Visit | None = getattr(req.context, "visit", None)
        if described.status == _UNAUTHORIZED:
            back = req.relative_uri if req.method == "GET" else req.path
            redirect(resp, f"/signin/?next={quote(back, safe='/')}")
            return
        resp.status = described.status
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self._renderer.render(
            "error.html.j2",
            visit=visit,
            status=described.status,
            heading=_TITLES.get(described.status, "Something failed"),
            message=described.message,
            request_id=req.context.id,
        )

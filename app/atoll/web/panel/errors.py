"""Error pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import falcon

from atoll.db.pool import DatabaseUnavailable
from atoll.placement.site_views import state_of
from atoll.storage.health import StoreHealth
from atoll.storage.observations import observe_store
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

    def __init__(self, renderer: Renderer, health: StoreHealth, locations: list[str]) -> None:
        """Make the pages.

        Args:
            renderer: Renders them.
            health: The health of stores in the memory of this process.
            locations: The locations in the bundle.
        """
        self._renderer = renderer
        self._health = health
        self._locations = locations

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
        if isinstance(error, DatabaseUnavailable):
            resp.text = self._renderer.render(
                "unavailable.html.j2",
                visit=None,
                path=req.relative_uri if req.method == "GET" else "/",
                stores=self._stores(),
                request_id=req.context.id,
            )
            return
        resp.text = self._renderer.render(
            "error.html.j2",
            visit=visit,
            status=described.status,
            heading=_TITLES.get(described.status, "Something failed"),
            message=described.message,
            request_id=req.context.id,
        )

    def _stores(self) -> dict[str, dict[str, Any]]:
        """Return what this process knows of each store, which needs no database.

        Causes are left out: they name hosts, and the reader may be anyone.
        """
        reports = {name: observe_store(self._health, name) for name in self._locations}
        return {
            name: {
                "state": state_of(one),
                "since": one["since"],
                "latency_seconds": one["latency_seconds"],
            }
            for name, one in reports.items()
        }

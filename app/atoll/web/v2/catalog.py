"""`/v2/_catalog`: the repositories that the token's user may pull from."""

from __future__ import annotations

import falcon

from atoll.registry.catalog import Catalog
from atoll.web.guard import Guard
from atoll.web.v2.pages import Page

_PAGE = 100
_SCOPE = "registry:catalog:*"


class CatalogList:
    """All repositories, as far as the user may see them; who is among SEEING_ALL sees all."""

    def __init__(self, catalog: Catalog, guard: Guard, seeing_all: frozenset[str]) -> None:
        self._catalog = catalog
        self._guard = guard
        self._seeing_all = seeing_all

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List names in order; `Link` leads to the rest."""
        identity = self._guard.identity(req, _SCOPE)
        page = Page.of(req)
        names, more = self._catalog.list(
            identity.username,
            user_id=identity.user_id,
            everything=identity.username in self._seeing_all,
            limit=_PAGE if page.limit is None else page.limit,
            last=page.last,
        )
        page.link(resp, "/v2/_catalog", names, more=more)
        resp.media = {"repositories": names}

    on_head = on_get

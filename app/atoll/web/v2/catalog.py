"""`/v2/_catalog`: the repositories that the token's user may pull from."""

from __future__ import annotations

import falcon

from atoll.registry.catalog import Catalog
from atoll.web.bearer_auth import BearerAuth
from atoll.web.v2.pages import Page

_PAGE = 100
_SCOPE = "registry:catalog:*"


class CatalogList:
    """The repositories that the user may pull from.

    A token that was issued for an OAuth token without a scope to read repositories lists the
    public ones.

    Args:
        catalog: the list of repositories.
        auth: authorizes requests.
        full_catalog: users whose tokens for `registry:catalog:*` list all repositories.
    """

    def __init__(self, catalog: Catalog, auth: BearerAuth, full_catalog: frozenset[str]) -> None:
        self._catalog = catalog
        self._auth = auth
        self._full_catalog = full_catalog

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List names in order; `Link` is the next page."""
        identity = self._auth.identity(req, _SCOPE)
        page = Page.from_request(req)
        names, more = self._catalog.list(
            None if identity.public_only else identity.username,
            user_id=identity.user_id,
            everything=identity.catalog and identity.username in self._full_catalog,
            limit=_PAGE if page.limit is None else page.limit,
            last=page.last,
        )
        page.link(resp, "/v2/_catalog", names, more=more)
        resp.media = {"repositories": names}

    on_head = on_get

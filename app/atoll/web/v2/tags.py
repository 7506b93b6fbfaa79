"""`/v2/<name>/tags/list`: the tags of a repository."""

from __future__ import annotations

import falcon

from atoll.auth.access import PULL
from atoll.names import RepositoryName
from atoll.registry.tags import Tags
from atoll.web.bearer_auth import BearerAuth
from atoll.web.v2.pages import Page


class TagList:
    """The tags of a repository (end-8)."""

    def __init__(self, tags: Tags, auth: BearerAuth) -> None:
        self._tags = tags
        self._auth = auth

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """List tags in order; `Link` is the next page."""
        repository = self._auth.require(req, RepositoryName.parse(name), PULL).repository
        page = Page.from_request(req)
        tags, more = self._tags.list(repository, page.limit, page.last)
        page.link(resp, f"/v2/{name}/tags/list", tags, more=more)
        resp.media = {"name": name, "tags": tags}

    on_head = on_get

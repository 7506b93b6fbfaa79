"""`/v2/<name>/tags/list`."""

from __future__ import annotations

from urllib.parse import urlencode

import falcon

from atoll.auth.access import PULL
from atoll.names import RepositoryName
from atoll.registry.tags import Tags
from atoll.web.guard import Guard


class TagList:
    """The tags of a repository (end-8)."""

    def __init__(self, tags: Tags, guard: Guard) -> None:
        self._tags = tags
        self._guard = guard

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """List tags in order; `Link` leads to the rest."""
        repository = RepositoryName.parse(name)
        self._guard.require(req, repository, PULL)
        limit = req.get_param_as_int("n", min_value=0, max_value=10_000_000)
        tags, more = self._tags.list(repository, limit, req.get_param("last"))
        if more and tags:
            query = urlencode({"n": limit, "last": tags[-1]})
            resp.set_header("Link", f'</v2/{repository}/tags/list?{query}>; rel="next"')
        resp.media = {"name": str(repository), "tags": tags}

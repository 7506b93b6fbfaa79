"""`GET /v2/`: the API version check, which also validates the token."""

from __future__ import annotations

import falcon

from atoll.web.bearer_auth import BearerAuth


class Base:
    """The root of the API (end-1)."""

    def __init__(self, auth: BearerAuth, *, sparse_indexes: bool) -> None:
        self._auth = auth
        self._sparse_indexes = sparse_indexes

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return `true`, as Quay does, if the token is valid."""
        if self._sparse_indexes:
            resp.set_header("X-Sparse-Manifest-Support", "true")
        self._auth.identity(req)
        resp.media = True

    on_head = on_get

"""`GET /v2/`: the API version check, which also validates the token."""

from __future__ import annotations

import falcon

from atoll.web.bearer_auth import BearerAuth


class Base:
    """The root of the API (end-1)."""

    def __init__(self, auth: BearerAuth) -> None:
        self._auth = auth

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return `true`, as Quay does, if the token is valid."""
        self._auth.identity(req)
        resp.media = True

    on_head = on_get

"""`GET /v2/`: tells a client that this is a registry, and whether its token is good."""

from __future__ import annotations

import falcon

from atoll.web.bearer_auth import BearerAuth


class Base:
    """The protocol's root (end-1)."""

    def __init__(self, auth: BearerAuth) -> None:
        self._auth = auth

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer `true`, as Quay does, to whoever has a token."""
        self._auth.identity(req)
        resp.media = True

    on_head = on_get

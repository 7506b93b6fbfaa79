"""`GET /v2/`: tells a client that this is a registry, and whether its token is good."""

from __future__ import annotations

import falcon

from atoll.web.guard import Guard


class Base:
    """The protocol's root (end-1)."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer `true`, as Quay does, to whoever has a token."""
        self._guard.identity(req)
        resp.media = True

    on_head = on_get

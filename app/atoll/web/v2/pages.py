"""Lists in pages: `n` entries after `last`, and a `Link` to the rest (distribution-spec, end-8)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import falcon

_LIMIT_MAXIMUM = 10_000


@dataclass(frozen=True)
class Page:
    """What a client asks for."""

    limit: int | None
    last: str | None

    @classmethod
    def of(cls, req: falcon.Request) -> Page:
        """Read `n` and `last`. More than the maximum is cut to it: the client sees a Link."""
        limit = req.get_param_as_int("n", min_value=0)
        return cls(None if limit is None else min(limit, _LIMIT_MAXIMUM), req.get_param("last"))

    def link(self, resp: falcon.Response, path: str, entries: list[str], *, more: bool) -> None:
        """Lead the client to the next page if there is one."""
        if more and entries:
            query = urlencode({"n": self.limit or len(entries), "last": entries[-1]})
            resp.set_header("Link", f'<{path}?{query}>; rel="next"')

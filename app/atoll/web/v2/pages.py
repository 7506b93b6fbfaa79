"""Pagination (distribution-spec, end-8): `n` entries after `last`, and a `Link` to the rest."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import falcon

_LIMIT_MAXIMUM = 10_000


@dataclass(frozen=True)
class Page:
    """The requested page of a list."""

    limit: int | None
    last: str | None

    @classmethod
    def from_request(cls, req: falcon.Request) -> Page:
        """Read `n`, which is reduced to the maximum, and `last` from the query."""
        limit = req.get_param_as_int("n", min_value=0)
        return cls(None if limit is None else min(limit, _LIMIT_MAXIMUM), req.get_param("last"))

    def link(self, resp: falcon.Response, path: str, entries: list[str], *, more: bool) -> None:
        """Set the `Link` header if there is a next page."""
        if more and entries:
            query = urlencode({"n": self.limit or len(entries), "last": entries[-1]})
            resp.set_header("Link", f'<{path}?{query}>; rel="next"')

"""Conditional requests (RFC 9110, section 13): the digest is the entity tag."""

from __future__ import annotations

import falcon

from atoll.names import Digest


def client_has_already(req: falcon.Request, resp: falcon.Response, digest: Digest) -> bool:
    """Answer 304 if the client holds DIGEST already (If-None-Match), and tell whether it does."""
    resp.set_header("ETag", f'"{digest}"')
    given = req.if_none_match or []
    has = any(
        etag == "*" or (isinstance(etag, falcon.ETag) and str(etag) == str(digest))
        for etag in given
    )
    if has:
        resp.status = falcon.HTTP_NOT_MODIFIED
    return has

"""Conditional requests (RFC 9110, section 13): the digest is the entity tag."""

from __future__ import annotations

import falcon

from atoll.names import Digest


def is_not_modified(req: falcon.Request, resp: falcon.Response, digest: Digest) -> bool:
    """Set status 304 and return true if the client has the content already (If-None-Match)."""
    resp.set_header("ETag", f'"{digest}"')
    if req.get_header("If-None-Match") is None:
        return False
    etags = req.if_none_match or []
    matches = any(
        etag == "*" or (isinstance(etag, falcon.ETag) and str(etag) == str(digest))
        for etag in etags
    )
    if matches:
        resp.status = falcon.HTTP_NOT_MODIFIED
    return matches

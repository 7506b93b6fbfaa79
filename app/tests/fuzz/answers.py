"""Assertions on error responses: their size is bounded, and they can be encoded."""

from __future__ import annotations

import json

import falcon
import falcon.testing
from atoll.web import errors

# Maximum bytes of an error response, unless it lists many digests.
BODY_MAXIMUM = 4096


def assert_sendable(error: Exception, maximum: int = BODY_MAXIMUM) -> None:
    """Assert that `error` maps to a client error with a body of at most `maximum` bytes."""
    resp = falcon.Response()
    errors.handle(falcon.testing.create_req(), resp, error, {})
    assert resp.status_code < 500, error
    body = resp.render_body()
    assert body is not None
    assert len(body) <= maximum, error
    assert json.loads(body)["errors"]
    assert_headers(resp)


def assert_headers(resp: falcon.Response) -> None:
    """Assert that no header contains a line break."""
    for value in resp.headers.values():
        assert not set("\r\n\0") & set(value)
        value.encode("latin-1")

"""Bodies of the API's requests are bounded before they are parsed."""

from __future__ import annotations

import tracemalloc
from unittest.mock import Mock

import falcon
import falcon.testing
import pytest
from atoll.audit.log import Audit
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Call, RequestModel, operation

_MEBIBYTE = 1024 * 1024


class _Resource:
    @operation("accept", body=RequestModel, anonymous=True)
    def on_post(self, call: Call) -> None:
        """Accept the body."""


def _send(body: bytes) -> None:
    headers = {"Content-Type": "application/json", "Authorization": "Bearer x"}
    req = falcon.testing.create_req(method="POST", body=body, headers=headers)
    resp = falcon.Response()
    req.context.call = Call(req, resp, None, None, Mock(spec=Audit))
    # The decorator replaces the parameters of the responder.
    respond = _Resource.on_post
    respond(_Resource(), req, resp)  # type: ignore[call-arg, arg-type]


def test_a_body_with_many_values_is_refused_before_it_takes_memory() -> None:
    body = b'{"a":[' + b"{}," * (_MEBIBYTE // 4) + b"{}]}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="the body has more than 100000 values"):
            _send(body)
        assert tracemalloc.get_traced_memory()[1] < 8 * _MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_body_that_is_no_object_is_refused_without_the_name_of_a_class() -> None:
    with pytest.raises(InvalidRequest, match=r"^body: Input should be an object$"):
        _send(b"[]")


def test_a_deeply_nested_body_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="the body is nested more than 32 levels deep"):
        _send(b"[" * 33)
    _send(b'{"a":' + b"[" * 31 + b"]" * 31 + b"}")

"""A document counts as received once the receiver answers with a 2xx status."""

from __future__ import annotations

import json
import ssl

import pytest
from atoll.notifications.receivers import NotReceived, Receivers
from atoll.outbound.client import OutboundClient
from atoll.outbound.errors import InvalidDestination
from atoll.outbound.policy import DestinationPolicy, Rules

from .raw_server import raw_server


def receivers(*allowed: str) -> Receivers:
    policy = DestinationPolicy(Rules.of(allowed))
    return Receivers(OutboundClient(policy, ssl.create_default_context))


def answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} Text\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_document_is_sent_as_json(status: int) -> None:
    document = {"name": "ü", "list": [1]}
    with raw_server(answer(status)).running() as server:
        receivers("127.0.0.1").post(f"http://127.0.0.1:{server.port}/ü", document)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == document


@pytest.mark.parametrize("status", [302, 307, 400, 404, 500, 503])
def test_any_other_status_is_a_failure(status: int) -> None:
    with (
        raw_server(answer(status)).running() as server,
        pytest.raises(NotReceived, match=str(status)),
    ):
        receivers("127.0.0.1").post(f"http://127.0.0.1:{server.port}/", {})


def test_a_private_receiver_is_refused_before_it_is_stored() -> None:
    with pytest.raises(InvalidDestination, match="SSRF_ALLOWED_HOSTS"):
        receivers().check("http://10.1.2.3/hook")
    receivers("10.0.0.0/8").check("http://10.1.2.3/hook")

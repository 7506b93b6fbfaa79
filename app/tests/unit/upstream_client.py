"""Clients of an upstream that fails on command."""

from __future__ import annotations

import pytest
from atoll.names import Digest
from atoll.outbound.connection import Limits
from atoll.upstream.client import UpstreamClient

from ..upstream.certificates import PrivateCa
from ..upstream.clients import client
from ..upstream.fault_upstream import FaultUpstream

SHORT = Limits(connect=1, idle=0.5, total=5, slowest=1000)
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@pytest.fixture
def one(ca: PrivateCa, upstream: FaultUpstream) -> UpstreamClient:
    """A client."""
    return client(ca, upstream)


@pytest.fixture
def impatient(ca: PrivateCa, upstream: FaultUpstream) -> UpstreamClient:
    """A client that waits for half a second."""
    return client(ca, upstream, limits=SHORT)


def digest(text: str) -> Digest:
    return Digest.parse(text)


def fetch(one: UpstreamClient, name: str, size: int) -> bytes:
    """Return a blob."""
    return b"".join(one.blob(digest(name), size).pieces())

"""Requests for which a user waits end after some seconds."""

from __future__ import annotations

import pytest
from atoll.config import Bundle
from atoll.mirroring.limited_upstreams import LimitedUpstreams
from atoll.upstream.access import Access
from atoll.upstream.errors import UpstreamTimedOut
from atoll.upstream.reference import UpstreamReference

from .clock import Clock
from .valid_bundle import valid_bundle


def test_no_request_is_sent_after_the_permitted_seconds() -> None:
    clock = Clock()
    limited = LimitedUpstreams(Bundle.model_validate(valid_bundle()), None, clock)
    with limited.opened(15) as upstreams:
        client = upstreams.client(UpstreamReference.parse("registry.invalid/a/b"), Access())
        clock.now = 15.1
        with pytest.raises(UpstreamTimedOut, match="the upstream needs more than 15 s"):
            client.tags()

"""Host and X-Forwarded-Host never lead to malformed URLs or headers."""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon
import falcon.testing
import pytest
from atoll.auth.tokens import Tokens
from atoll.names import RepositoryName
from atoll.web.bearer_auth import TokenAuth
from atoll.web.errors import Unauthorized
from hypothesis import strategies as st

from .answers import assert_sendable
from .authority import AUTHORITY, BUNDLE
from .fuzzing import fuzz
from .mutation import header_values

GUARD = TokenAuth(Tokens(b"k" * 32, "registry.test"), AUTHORITY, BUNDLE)
VALID = st.sampled_from(
    ["registry.test", "registry.test:8443", "[::1]:8080", "127.0.0.1", "[::ffff:1.2.3.4]", "A_b.c"]
)
_STORES = st.sampled_from(["https://store.test/bucket/x?y=z", "https://[::1]:7480/bucket"])


def _request(host: str, forwarded: str | None, scheme: str) -> falcon.Request:
    headers = {"Host": host, "X-Forwarded-Proto": scheme}
    if forwarded is not None:
        headers["X-Forwarded-Host"] = forwarded
    return falcon.testing.create_req(headers=headers)


def check(host: str, forwarded: str | None, scheme: str, store: str) -> None:
    req = _request(host, forwarded, scheme)
    location = AUTHORITY.url(req, "/v2/admin/app/blobs/uploads/1?_state=x")
    parts = urlsplit(location)
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert parts.username is None
    assert (parts.path, parts.query) == ("/v2/admin/app/blobs/uploads/1", "_state=x")
    # Go's client would send credentials there, as it does for the host itself.
    assert AUTHORITY.is_below_client_host(req, location)
    AUTHORITY.is_below_client_host(req, store)
    with pytest.raises(Unauthorized) as refused:
        GUARD.check_push(req, RepositoryName("admin", "app"))
    assert refused.value.challenge.count('"') == 6
    assert_sendable(refused.value)


def test_any_host_yields_valid_urls_and_headers() -> None:
    hosts = header_values(VALID)
    fuzz(check, hosts, st.none() | hosts, hosts | st.just("https"), _STORES)

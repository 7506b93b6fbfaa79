"""Host and X-Forwarded-Host: URLs for the client that are URLs, and headers of one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import falcon
import falcon.testing
import pytest
from atoll.auth.tokens import Tokens
from atoll.config import Bundle
from atoll.names import RepositoryName
from atoll.web.bearer_auth import TokenAuth
from atoll.web.errors import Unauthorized
from atoll.web.external_url import ExternalUrls
from hypothesis import strategies as st

from .answers import assert_sent
from .fuzzing import fuzz
from .mutation import header_values

BUNDLE = cast(
    Bundle,
    SimpleNamespace(
        server_hostname="registry.test",
        external_tls_termination=False,
        preferred_url_scheme="http",
        trusted_proxies=[],
        read_only=False,
        disable_pushes=False,
    ),
)
AUTHORITY = ExternalUrls(BUNDLE)
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
    # Go's client would follow it; so it is what the host is compared with.
    assert AUTHORITY.is_below_client_host(req, location)
    AUTHORITY.is_below_client_host(req, store)
    with pytest.raises(Unauthorized) as refused:
        GUARD.check_push(req, RepositoryName("admin", "app"))
    assert refused.value.challenge.count('"') == 6
    assert_sent(refused.value)


def test_hosts() -> None:
    hosts = header_values(VALID)
    fuzz(check, hosts, st.none() | hosts, hosts | st.just("https"), _STORES)

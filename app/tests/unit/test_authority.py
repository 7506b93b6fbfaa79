"""Which addresses a client takes for the registry's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import falcon
import falcon.testing
import pytest
from atoll.config import Bundle
from atoll.web.authority import Authority

BUNDLE = SimpleNamespace(
    server_hostname="registry.test", external_tls_termination=False, preferred_url_scheme="http"
)


@pytest.mark.parametrize("host", [" ", 'a"b', "[::1", "[:::]", "[1.2.3.4]", "a b", "user@host"])
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_an_invalid_host_is_replaced_by_the_registrys_own_name(header: str, host: str) -> None:
    authority = Authority(cast(Bundle, BUNDLE))
    request = falcon.testing.create_req(headers={"Host": " ", header: host})
    assert authority.url(request, "/v2/") == "http://registry.test/v2/"
    assert authority.covers(request, "https://registry.test:7480/x")


@pytest.mark.parametrize(
    ("host", "url", "covered"),
    [
        ("registry.test", "https://store.test/bucket", False),
        ("registry.test", "https://registry.test:7480/bucket", True),
        ("registry.test:8443", "http://registry.test/bucket", True),
        ("registry.test", "https://blobs.registry.test/x", True),
        ("registry.test", "https://otherregistry.test/x", False),
        ("Registry.Test", "https://registry.test/x", True),
        ("127.0.0.1:8080", "https://127.0.0.1:7480/x", True),
        ("[::1]:8080", "https://[::1]:7480/x", True),
        ("127.0.0.1", "https://10.0.0.1/x", False),
    ],
)
def test_go_clients_take_a_host_name_for_the_same_on_any_port_and_below(
    host: str, url: str, *, covered: bool
) -> None:
    authority = Authority(cast(Bundle, BUNDLE))
    request = falcon.testing.create_req(headers={"Host": host})
    assert authority.covers(request, url) is covered

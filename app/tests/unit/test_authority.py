"""The registry's authority, as clients see it."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace
from typing import cast

import falcon
import falcon.testing
import pytest
from atoll.config import Bundle
from atoll.web.external_url import ExternalUrls

BALANCER = "10.0.0.1"


def make_authority() -> ExternalUrls:
    bundle = SimpleNamespace(
        server_hostname="registry.test",
        external_tls_termination=False,
        preferred_url_scheme="http",
        trusted_proxies=[ipaddress.ip_network(BALANCER)],
    )
    return ExternalUrls(cast(Bundle, bundle))


@pytest.mark.parametrize("host", [" ", 'a"b', "[::1", "[:::]", "[1.2.3.4]", "a b", "user@host"])
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_an_invalid_host_is_replaced_by_the_configured_one(header: str, host: str) -> None:
    authority = make_authority()
    request = falcon.testing.create_req(
        headers={"Host": " ", "X-Forwarded-For": BALANCER, header: host}
    )
    assert authority.url(request, "/v2/") == "http://registry.test/v2/"
    assert authority.is_below_client_host(request, "https://registry.test:7480/x")


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
def test_a_host_covers_its_other_ports_and_its_subdomains_as_in_go_clients(
    host: str, url: str, *, covered: bool
) -> None:
    request = falcon.testing.create_req(headers={"Host": host})
    assert make_authority().is_below_client_host(request, url) is covered


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"Host": "us.test:8443"}, "us.test:8443"),
        ({"Host": "a b"}, "registry.test"),
        ({"Host": 'x"y'}, "registry.test"),
        ({"Host": "us.test", "X-Forwarded-Host": "evil.example"}, "us.test"),
        (
            {
                "Host": "us.test",
                "X-Forwarded-Host": "evil.example",
                "X-Forwarded-For": f"{BALANCER}, 192.0.2.7",
            },
            "us.test",
        ),
        (
            {
                "Host": "us.test",
                "X-Forwarded-Host": "front.test, us.test",
                "X-Forwarded-For": f"192.0.2.7, {BALANCER}",
            },
            "front.test",
        ),
        (
            {"Host": "us.test", "X-Forwarded-Host": 'x"y', "X-Forwarded-For": BALANCER},
            "us.test",
        ),
    ],
)
def test_forwarded_host_is_accepted_from_trusted_proxies_only(
    headers: dict[str, str], host: str
) -> None:
    request = falcon.testing.create_req(headers=headers)
    assert make_authority().url(request, "/v2/auth") == f"http://{host}/v2/auth"

"""The client address is taken from trusted proxies only, never from the client itself."""

from __future__ import annotations

import ipaddress

import falcon.testing
import pytest
from atoll.web.client_address import find_client_address

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::1/128")]


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.1", "192.0.2.7"),
        ("192.0.2.7,10.0.0.1 , 2001:db8::1", "192.0.2.7"),
        # Forged entries precede the client's own address.
        ("203.0.113.9, 192.0.2.7, 10.0.0.1", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("nonsense, 10.0.0.1", "10.0.0.1"),
        ("unknown", "unknown"),
        ("", "127.0.0.1"),
        (",,", "127.0.0.1"),
    ],
)
def test_the_last_untrusted_address_of_the_chain_is_the_client(
    forwarded: str, address: str
) -> None:
    req = falcon.testing.create_req(headers={"X-Forwarded-For": forwarded})
    assert find_client_address(req, TRUSTED) == address


def test_no_proxy_is_trusted_by_default() -> None:
    req = falcon.testing.create_req(headers={"X-Forwarded-For": "192.0.2.7, 10.0.0.1"})
    assert find_client_address(req, []) == "10.0.0.1"

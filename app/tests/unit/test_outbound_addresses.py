"""Requests on behalf of users are sent to public addresses only, in any notation."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest
from atoll.outbound.addresses import is_public
from atoll.outbound.destination import parse
from atoll.outbound.errors import InvalidDestination
from atoll.outbound.policy import DestinationPolicy
from hypothesis import given
from hypothesis import strategies as st

# From https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast.
SPECIAL_IPV4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
SPECIAL_IPV6 = [
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:2::/48",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:831::200e",
    "64:ff9b::808:808",
]


def addresses_in(networks: list[str]) -> st.SearchStrategy[ipaddress._BaseAddress]:
    return st.sampled_from(networks).flatmap(
        lambda network: st.ip_addresses(network=network)  # type: ignore[no-any-return]
    )


def _embedding(prefix: str, shift: int) -> Callable[[IPv4Address], str]:
    base = int(IPv6Address(prefix))
    return lambda address: f"[{IPv6Address(base | int(address) << shift)}]"


def _parts(address: IPv4Address) -> tuple[int, ...]:
    return struct.unpack("4B", address.packed)


NOTATIONS: dict[str, Callable[[IPv4Address], str]] = {
    "dotted": str,
    "final dot": lambda a: f"{a}.",
    "decimal": lambda a: str(int(a)),
    "hexadecimal": lambda a: hex(int(a)),
    "hexadecimal in capitals": lambda a: hex(int(a)).upper(),
    "octal": lambda a: f"0{int(a):o}",
    "octal parts": lambda a: ".".join(f"0{part:o}" for part in _parts(a)),
    "hexadecimal parts": lambda a: ".".join(hex(part) for part in _parts(a)),
    "two parts": lambda a: f"{int(a) >> 24}.{int(a) & 0xFFFFFF}",
    "three parts": lambda a: f"{int(a) >> 24}.{int(a) >> 16 & 0xFF}.{int(a) & 0xFFFF}",
    "full-width digits": lambda a: str(a).translate({48 + n: 0xFF10 + n for n in range(10)}),
    "ideographic full stops": lambda a: str(a).replace(".", "。"),
    "IPv4-mapped": lambda a: f"[::ffff:{a}]",
    "IPv4-compatible": _embedding("::", 0),
    "IPv4-translated": _embedding("::ffff:0:0:0", 0),
    "NAT64": _embedding("64:ff9b::", 0),
    "6to4": _embedding("2002::", 80),
    "Teredo server": _embedding("2001::", 64),
    "Teredo client": lambda a: (
        f"[{IPv6Address(int(IPv6Address('2001:0:808:808::')) | int(a) ^ 0xFFFFFFFF)}]"
    ),
    "ISATAP": _embedding("2a00:1450::5efe:0:0", 0),
    "ISATAP of a public address": _embedding("2a00:1450::200:5efe:0:0", 0),
}


@pytest.mark.parametrize("notation", NOTATIONS)
@given(address=addresses_in(SPECIAL_IPV4))
def test_a_special_ipv4_address_is_refused_in_every_notation(
    notation: str, address: IPv4Address
) -> None:
    host = NOTATIONS[notation](address)
    with pytest.raises(InvalidDestination, match="SSRF_ALLOWED_HOSTS"):
        DestinationPolicy().check(parse(f"http://{host}/hook"))


@given(address=addresses_in(SPECIAL_IPV6), zone=st.sampled_from(["", "%25eth0", "%1"]))
def test_a_special_ipv6_address_is_refused(address: IPv6Address, zone: str) -> None:
    for text in (str(address), address.exploded, str(address).upper()):
        with pytest.raises(InvalidDestination):
            DestinationPolicy().check(parse(f"http://[{text}{zone}]:8080/"))


@given(address=st.ip_addresses())
def test_no_address_that_python_knows_as_special_is_public(
    address: IPv4Address | IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        # These embed IPv4 addresses, which may be public.
        translated = ("64:ff9b::/96", "::ffff:0:0/96")
        assert not is_public(address) or any(
            address in ipaddress.ip_network(network) for network in translated
        )


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_the_metadata_service_of_a_cloud_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_accepted(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    DestinationPolicy().check(parse(f"https://{host}/"))

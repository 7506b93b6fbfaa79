"""Classification of IP addresses as public.

Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and
iana-ipv6-special-registry. Python's `is_global` follows them but differs between versions, so the
relevant ranges are listed here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from atoll.config.hosts import Address, Network

_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host agent, reachable from virtual machines only
        "2001::/23",  # includes Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4: public or not depends on Python's version (`is_global`)
        "3fff::/20",
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")
# The upper halves of ISATAP interface identifiers, whose lower half is an IPv4 address.
_ISATAP = (0x00005EFE, 0x02005EFE)
_LOW = 0xFFFFFFFF


def plain(address: Address) -> Address:
    """Return the IPv4 address of an IPv4-mapped address, which sockets treat as the same."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to an address may be translated or tunnelled to."""
    if not isinstance(address, IPv6Address):
        return
    number = int(address)
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address in _NAT64 or (number >> 32) & _LOW in _ISATAP:
        yield IPv4Address(number & _LOW)
    if address in _6TO4:
        yield IPv4Address((number >> 80) & _LOW)
    if address in _TEREDO:
        yield IPv4Address((number >> 64) & _LOW)
        yield IPv4Address(number & _LOW ^ _LOW)


def is_public(address: Address) -> bool:
    """Return whether an address, and every IPv4 address embedded in it, is public."""
    address = plain(address)
    if not all(_is_public_ipv4(inner) for inner in embedded(address)):
        return False
    if isinstance(address, IPv4Address):
        return _is_public_ipv4(address)
    if address in _NAT64:
        return True
    return (
        address in _GLOBAL_UNICAST
        and address.is_global
        and not any(address in network for network in _NOT_PUBLIC)
    )


def _is_public_ipv4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)

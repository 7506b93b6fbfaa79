"""Warnings about stores with addresses that clients refuse to be redirected to.

go-containerregistry, and with it crane, follows no redirect to another host with a private,
loopback, link-local or unspecified IP address, in any notation. It resolves no names, so a name of
the same address is accepted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from atoll.config.hosts import canonical_host
from atoll.config.stores import StoreSettings

# As in Go's net.IP: narrower than Python's `is_private`, which includes reserved networks.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
# The arguments of drivers that contain the host of redirects, in order of precedence.
_KEYS = ("endpoint_url", "hostname", "host")


def store_address_warnings(stores: Mapping[str, StoreSettings]) -> list[str]:
    """Return a message for each store whose host is an address that clients refuse.

    Args:
        stores: The settings by location. Stores whose driver redirects to an address that only the
            store itself knows, as Swift, cause no warning.
    """
    found = []
    for location, settings in stores.items():
        for key in _KEYS:
            value = getattr(settings, key, None)
            if value:
                if address := _refused_address(str(value)):
                    found.append(
                        f"DISTRIBUTED_STORAGE_CONFIG.{location}.{key}: {address} is a private IP"
                        " address, to which some clients, such as crane, follow no redirect, so"
                        " their pulls fail; set a DNS name that clients and all sites resolve and"
                        " that the store's certificate contains, or FEATURE_PROXY_STORAGE: true"
                    )
                break
    return found


def _refused_address(value: str) -> str | None:
    """Return the address in a URL or host, with an optional port, if clients refuse it."""
    try:
        host = urlsplit(value if "://" in value else f"//{value}").hostname or ""
        address = ipaddress.ip_address(canonical_host(host))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    refused = (
        any(address in network for network in _PRIVATE)
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )
    return host if refused else None

"""The client's address behind nginx and load balancers.

Each proxy appends the address of its own client to X-Forwarded-For; earlier entries may be forged.
The list is therefore read from its end, as long as the proxy that wrote an entry is trusted: our
own nginx, and the networks in TRUSTED_PROXIES.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

import falcon

# Characters of an IPv6 address.
_ADDRESS_LENGTH = 45

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def find_client_address(req: falcon.Request, trusted: Sequence[Network]) -> str:
    """Return the last address in the chain of proxies that is outside the trusted networks."""
    forwarded = (req.get_header("X-Forwarded-For") or "").split(",")
    entries = [entry.strip() for entry in reversed(forwarded) if entry.strip()]
    if not entries:
        return str(req.remote_addr)
    found = entries[0]
    if not trusted:
        return found
    for entry in entries:
        address = _parse(entry)
        if address is None:
            break
        found = entry
        if not any(address in network for network in trusted):
            break
    return found


def is_from_trusted_proxy(req: falcon.Request, trusted: Sequence[Network]) -> bool:
    """Return whether nginx received the request from one of the `trusted` networks.

    nginx appends the address of its client to X-Forwarded-For.
    """
    if not trusted:
        return False
    forwarded = (req.get_header("X-Forwarded-For") or "").rpartition(",")[2].strip()
    address = _parse(forwarded or str(req.remote_addr))
    return address is not None and any(address in network for network in trusted)


def client_address(req: falcon.Request) -> str:
    """Return the address that the middleware stored in the request's context."""
    return str(req.context.client_address)


def _parse(entry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    # Clients may send long texts, which are not worth their memory.
    return _parse_short(entry) if len(entry) <= _ADDRESS_LENGTH else _parse_any(entry)


def _parse_any(entry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(entry)
    except ValueError:
        return None


_parse_short = lru_cache(maxsize=1024)(_parse_any)

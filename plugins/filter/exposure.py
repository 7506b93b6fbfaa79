"""Warnings for components that the inventory opens to more hosts than necessary."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

# Networks in pg_hba.conf that contain every address.
_ANY = ("all", "0.0.0.0/0", "::/0")


def exposure_warnings(
    role: str, address: str, metrics_address: str = "", networks: Iterable[object] = ()
) -> list[str]:
    """Return a sentence for each setting of a role that exposes it unnecessarily.

    Args:
        role: Name of the role, which is the prefix of its variables.
        address: Address that clients reach.
        metrics_address: Address that metrics and statistics are published on; "" if there are none.
        networks: Networks that may connect to PostgreSQL.
    """
    found = []
    plain = metrics_address.strip("[]")
    if _is_wildcard(plain) or (plain == address.strip("[]") and not _is_loopback(plain)):
        found.append(
            f"{role}_metrics_address ({metrics_address}) is an address that clients reach, and"
            " metrics are served without authentication or TLS: set an address of a management"
            " network, or restrict access to the monitoring hosts with a firewall."
        )
    found += [
        f"{role}_allowed_networks contains {network}, so any host can try passwords: list the"
        " networks of the sites."
        for network in map(str, networks)
        if network in _ANY
    ]
    return found


def _is_wildcard(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by name."""
        return {"exposure_warnings": exposure_warnings}

"""Filter for the addresses at which clients reach the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def client_endpoints(
    load_balancers: Sequence[str], sites: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return ADDRESS:PORT of all load balancers, and of the hosts of sites without their own.

    Args:
        load_balancers: The hosts of the load balancers.
        sites: The hosts of the registry.
        hostvars: The variables of each host.
    """
    balanced = {str(hostvars[host].get("load_balancer_site")) for host in load_balancers}
    direct = [host for host in sites if str(hostvars[host].get("registry_site")) not in balanced]
    return [
        *(_endpoint(hostvars[host], host, "load_balancer") for host in load_balancers),
        *(_endpoint(hostvars[host], host, "registry") for host in direct),
    ]


def _endpoint(variables: Mapping[str, Any], host: str, role: str) -> str:
    address = variables.get(f"{role}_address", variables.get("ansible_host", host))
    return f"{address}:{variables.get(f'{role}_https_port', 443)}"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"client_endpoints": client_endpoints}

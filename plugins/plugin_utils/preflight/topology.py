"""Checks of groups, sites and locations."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    COMPONENTS,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    CONTROLLER,
    Problem,
    problem,
)


def topology_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of groups, sites and locations."""
    yield from _groups(inventory)
    yield from _sites(inventory)
    yield from _balancers(inventory)
    yield from _floating_addresses(inventory)


def _groups(inventory: Inventory) -> Iterator[Problem]:
    if not inventory.sites():
        yield problem(
            "no-site",
            CONTROLLER,
            "The group atoll_sites has no hosts.",
            "Add a child group for each site, as in inventories/example.",
        )
    for role, name in (("postgres", "PostgreSQL"), ("redis", "Redis")):
        names = inventory.groups.get(COMPONENTS[role], [])
        if len(names) > 1:
            consequence = (
                "each is a primary with a database of its own"
                if role == "postgres"
                else "each is a cache of its own"
            )
            yield problem(
                f"several-{role}-hosts",
                CONTROLLER,
                f"The group atoll_{role} has {len(names)} hosts ({', '.join(names)}):"
                f" {consequence}.",
                f"Leave one host in atoll_{role}, or none for a {name} that is managed elsewhere.",
            )
    for host in inventory.hosts.values():
        if "atoll" not in host.groups:
            yield problem(
                "host-outside-atoll",
                host.name,
                "The host is not in the group atoll, so it would not be prepared.",
                f"Make {', '.join(COMPONENTS[role] for role in host.components)} a child of atoll.",
            )


def _sites(inventory: Inventory) -> Iterator[Problem]:
    first: dict[str, tuple[str, list[str]]] = {}
    writers: dict[str, str] = {}
    for host in inventory.sites():
        site = host.text("registry_site")
        preference = host.get("registry_storage_preference")
        if not site or not isinstance(preference, list):
            continue
        name, expected = first.setdefault(site, (host.name, preference))
        if preference != expected:
            yield problem(
                "site-inconsistent",
                host.name,
                f"Its registry_storage_preference differs from that of {name}, which is in the same"
                f" site ({site}).",
                "Set registry_storage_preference for the group of the site.",
            )
        for location in preference[:1]:
            other = writers.setdefault(str(location), site)
            if other != site:
                yield problem(
                    "location-shared",
                    host.name,
                    f"The sites {other} and {site} both write to the location {location}.",
                    "Put the location of the site's own store first in"
                    " registry_storage_preference.",
                    "warning",
                )


def _balancers(inventory: Inventory) -> Iterator[Problem]:
    sites = sorted({host.text("registry_site") for host in inventory.sites()} - {""})
    for host in inventory.running("load_balancer"):
        site = host.text("load_balancer_site")
        if site and site not in sites:
            yield problem(
                "site-unknown",
                host.name,
                f"load_balancer_site is {site}, which is not a site.",
                f"Set it to one of {', '.join(sites)}. If its site was removed with"
                f" remove_site.yml, remove {host.name} from the inventory.",
            )


def _floating_addresses(inventory: Inventory) -> Iterator[Problem]:
    balancers = inventory.running("load_balancer")
    used = {host.text("ansible_host") or host.name for host in inventory.hosts.values()}
    sites: dict[str, set[str]] = {}
    for host in balancers:
        sites.setdefault(host.text("keepalived_address"), set()).add(
            host.text("load_balancer_site")
        )
    for host in balancers:
        address = host.text("keepalived_address")
        if not address:
            continue
        message = ""
        if not _is_ipv4(address):
            message = "which is not an IPv4 address"
        elif address in used:
            message = "which is the address of a host"
        elif len(sites[address]) > 1:
            message = (
                f"which load balancers of several sites share ({', '.join(sorted(sites[address]))})"
            )
        if message:
            yield problem(
                "floating-address",
                host.name,
                f"keepalived_address is {address}, {message}.",
                "Set it to an IPv4 address that no host has, and that only load balancers with the"
                " same load_balancer_site share.",
            )


def _is_ipv4(address: str) -> bool:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True

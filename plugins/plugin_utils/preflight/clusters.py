"""Checks of sites on Kubernetes clusters, to which no check connects."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from ansible_collections.atoll.registry.plugins.plugin_utils.clusters import HTTPS_PORT
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    CLUSTERS,
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

_KUBERNETES = "kubernetes"
_MAXIMUM_PORT = 65535
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)


def cluster_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of groups, names and addresses of sites on clusters."""
    for host in inventory.hosts.values():
        yield from _misplaced(host)
    used = {host.text("registry_site"): host.name for host in inventory.running("registry")}
    for host in inventory.clusters.values():
        yield from _platform(host)
        yield from _site(host, used)
        yield from _address(host, balanced=bool(inventory.running("load_balancer")))


def _misplaced(host: Host) -> Iterator[Problem]:
    if CLUSTERS in host.groups:
        yield problem(
            "site-platform",
            host.name,
            f"The host is in the groups atoll and {CLUSTERS}, so playbooks for machines would"
            " connect to it.",
            f"Make {CLUSTERS} a sibling of atoll, as in inventories/example.",
        )
    elif host.text("site_platform"):
        yield problem(
            "site-platform",
            host.name,
            f"site_platform is {host.text('site_platform')}, but the host is in the group atoll,"
            " whose hosts are machines.",
            f"Move the site to the group {CLUSTERS} if it is on a cluster; otherwise, remove"
            " site_platform.",
        )


def _platform(host: Host) -> Iterator[Problem]:
    platform = host.text("site_platform")
    if platform != _KUBERNETES:
        yield problem(
            "site-platform",
            host.name,
            f"site_platform is {platform!r}, but the host is in the group {CLUSTERS}."
            if platform
            else f"The host is in the group {CLUSTERS}, but site_platform is not set.",
            "Set site_platform to kubernetes, or move the site to the group atoll_sites if it is on"
            " machines.",
        )


def _site(host: Host, used: dict[str, str]) -> Iterator[Problem]:
    """Yield a problem if the site has no name, or that of another site; and record its name."""
    site = host.text("registry_site")
    if not site:
        if not host.failed("registry_site"):
            yield problem(
                "value-invalid",
                host.name,
                "registry_site is not set.",
                "Set registry_site to the name of the site that is on this cluster.",
            )
        return
    other = used.setdefault(site, host.name)
    if other != host.name:
        yield problem(
            "site-duplicate",
            host.name,
            f"{other} belongs to the site {site}, too. A site on a cluster has one host in the"
            " inventory, and its name is unique.",
            "Set registry_site to another name, and give the site a location of its own.",
        )
    preference = host.get("registry_storage_preference")
    valid = isinstance(preference, list) and preference
    if not valid and not host.failed("registry_storage_preference"):
        yield problem(
            "value-invalid",
            host.name,
            "registry_storage_preference contains no location.",
            "Set it to the locations of the site, with that of its own store first.",
        )


def _address(host: Host, *, balanced: bool) -> Iterator[Problem]:
    address = host.text("kubernetes_address")
    if host.failed("kubernetes_address"):
        return
    if not address:
        if balanced:
            yield problem(
                "cluster-not-balanced",
                host.name,
                "kubernetes_address is not set, so the load balancers send no requests to the site"
                f" {host.text('registry_site')}.",
                "Set kubernetes_address to the address of its Service, Route or Ingress, if the"
                " load balancers are to use it.",
                "warning",
            )
        return
    if not _is_address(address):
        yield problem(
            "address-invalid",
            host.name,
            f"kubernetes_address is {address!r}, which is neither an IP address nor a host name.",
            "Set it without a scheme and a port. Write IPv6 addresses in brackets.",
        )
    port = host.text("kubernetes_https_port") or str(HTTPS_PORT)
    if not port.isdecimal() or not 0 < int(port) <= _MAXIMUM_PORT:
        yield problem(
            "value-invalid",
            host.name,
            f"kubernetes_https_port is {port!r}, which is not a port.",
            f"Set it to the port of kubernetes_address, or omit it for {HTTPS_PORT}.",
        )


def _is_address(value: str) -> bool:
    """Return whether a value is an IPv4 address, an IPv6 address in brackets, or a host name."""
    bracketed = value.startswith("[") and value.endswith("]")
    try:
        return ipaddress.ip_address(value[1:-1] if bracketed else value).version == (
            6 if bracketed else 4
        )
    except ValueError:
        return bool(_HOST_NAME.fullmatch(value.lower())) and not value.replace(".", "").isdecimal()

"""Checks of the addresses and ports that components publish."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from ansible.errors import AnsibleFilterError
from ansible_collections.atoll.registry.plugins.filter.exposure import exposure_warnings
from ansible_collections.atoll.registry.plugins.filter.mirroring import runs_mirror
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

# The variables with the address and the port of each port that a role publishes.
_PUBLISHED = {
    "registry": (
        ("registry_address", "registry_https_port"),
        ("registry_metrics_address", "registry_metrics_port"),
        ("registry_metrics_address", "registry_replication_metrics_port"),
        ("registry_metrics_address", "registry_mirror_metrics_port"),
    ),
    "postgres": (("postgres_address", "postgres_port"),),
    "redis": (("redis_address", "redis_port"),),
    "clair": (
        ("clair_address", "clair_port"),
        ("clair_metrics_address", "clair_metrics_port"),
    ),
    "load_balancer": (
        ("load_balancer_address", "load_balancer_https_port"),
        ("load_balancer_metrics_address", "load_balancer_metrics_port"),
    ),
}
_WORKER_PORT = "registry_replication_metrics_port"
_MIRROR_PORT = "registry_mirror_metrics_port"


@dataclass(frozen=True)
class Published:
    """A port that a component publishes on its host.

    Attributes:
        address: The address without brackets.
        port: The number of the port.
        variable: The variable that sets the port.
        host: The host in the inventory.
    """

    address: str
    port: int
    variable: str
    host: str

    def collides(self, other: Published) -> bool:
        """Return whether both cannot be published on the same machine."""
        if self.port != other.port:
            return False
        return self.address == other.address or _wildcard(self.address) or _wildcard(other.address)


def port_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield invalid addresses, colliding ports and unnecessary exposure."""
    machines: dict[tuple[str, str], list[Published]] = {}
    for host, role in inventory.components():
        yield from _invalid_addresses(host, role)
        yield from _exposure(host, role)
        machine = (host.text("ansible_host") or host.name, host.text("ansible_port"))
        machines.setdefault(machine, []).extend(published(host, role))
    for ports in machines.values():
        yield from _collisions(ports)


def published(host: Host, role: str) -> list[Published]:
    """Return the ports that a role publishes on a host."""
    found = []
    for address, variable in _PUBLISHED[role]:
        if variable == _WORKER_PORT and not _replicates(host):
            continue
        if variable == _MIRROR_PORT and not _runs_mirror(host):
            continue
        try:
            port = int(host.text(variable) or 0)
        except ValueError:
            continue  # The argument specification reports it.
        if port:
            found.append(Published(host.text(address).strip("[]"), port, variable, host.name))
    return found


def _replicates(host: Host) -> bool:
    bundle = host.get("registry_config")
    value = bundle.get("FEATURE_STORAGE_REPLICATION") if isinstance(bundle, dict) else None
    return str(value).lower() in ("true", "yes", "on", "1")


def _runs_mirror(host: Host) -> bool:
    try:
        return runs_mirror(host.get("registry_config"), host.text("registry_mirror") or "auto")
    except AnsibleFilterError:
        return False  # The argument specification reports it.


def _invalid_addresses(host: Host, role: str) -> Iterator[Problem]:
    for variable in dict.fromkeys(address for address, _port in _PUBLISHED[role]):
        value = host.text(variable)
        if host.failed(variable) or _address(value):
            continue
        yield problem(
            "address-invalid",
            host.name,
            f"{variable} is {value!r}, which is not an IP address.",
            f"Set {variable} (or ansible_host, its default) to an IP address of the host. Write"
            " IPv6 addresses in brackets.",
        )


def _collisions(ports: list[Published]) -> Iterator[Problem]:
    for number, one in enumerate(ports):
        for other in ports[number + 1 :]:
            if one.collides(other):
                yield problem(
                    "port-collision",
                    one.host,
                    f"{one.variable} and {other.variable} are both {one.port} at"
                    f" {_where(one, other)}.",
                    "Change one of the ports, or publish them on different addresses.",
                )


def _where(one: Published, other: Published) -> str:
    address = one.address if one.address == other.address else f"{one.address} and {other.address}"
    names = dict.fromkeys((one.host, other.host))
    return address if len(names) == 1 else f"{address} ({' and '.join(names)} are one machine)"


def _exposure(host: Host, role: str) -> Iterator[Problem]:
    networks = host.get(f"{role}_allowed_networks")
    warnings = exposure_warnings(
        role,
        host.text(f"{role}_address"),
        metrics_address=host.text(f"{role}_metrics_address"),
        networks=networks if isinstance(networks, list) else [],
    )
    for warning in warnings:
        text, _colon, remedy = warning.rstrip(".").rpartition(": ")
        yield problem(
            "exposed", host.name, f"{text}.", f"{remedy[:1].upper()}{remedy[1:]}.", "warning"
        )


def _address(value: str) -> bool:
    """Return whether a value is an IPv4 address, or an IPv6 address in brackets."""
    bracketed = value.startswith("[") and value.endswith("]")
    try:
        version = ipaddress.ip_address(value[1:-1] if bracketed else value).version
    except ValueError:
        return False
    return version == (6 if bracketed else 4)


def _wildcard(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_unspecified
    except ValueError:
        return False

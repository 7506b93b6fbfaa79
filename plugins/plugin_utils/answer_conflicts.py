"""Conflicts between valid answers, such as an address that two hosts have."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.atoll.registry.plugins.plugin_utils.answers import Answers


def conflicts(answers: Answers) -> list[str]:
    """Return a sentence for each conflict."""
    checks = (_shared_names, _reused_addresses, _mixed_roles, _reused_stores, _ca_names)
    return [problem for check in checks for problem in check(answers)]


def _all_hosts(answers: Answers) -> Iterator[tuple[str, str, str]]:
    """Yield the answer, the name and the address of each host."""
    for name, address in answers.shared_host.items():
        yield "atoll_shared_host", name, address
    for index, region in enumerate(answers.regions):
        for kind, hosts in (("hosts", region.hosts), ("load_balancers", region.load_balancers)):
            for name, address in hosts.items():
                yield f"atoll_regions[{index}].{kind}", name, address


def _shared_names(answers: Answers) -> Iterator[str]:
    regions = [region.name for region in answers.regions]
    for name in sorted({name for name in regions if regions.count(name) > 1}):
        yield f'atoll_regions has several regions named "{name}". Give each its own name'
    for where, host, _address in _all_hosts(answers):
        if host in regions:
            yield f'{where} has a host "{host}", which is the name of a region. Example: {host}-1'
    seen: dict[str, str] = {}
    for index, region in enumerate(answers.regions):
        for host in (*region.hosts, *region.load_balancers):
            where = f"atoll_regions[{index}]"
            if seen.setdefault(host, where) != where:
                yield f"{where} has the host {host}, which {seen[host]} has, too"


def _reused_addresses(answers: Answers) -> Iterator[str]:
    names: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for where, name, address in _all_hosts(answers):
        if addresses.setdefault(name, address) != address:
            yield (
                f"{where} gives {name} the address {address}, and another answer {addresses[name]}"
            )
        elif names.setdefault(address, name) != name:
            yield f"{where} gives {name} the address {address}, which {names[address]} has, too"
    for index, region in enumerate(answers.regions):
        if region.floating_address in addresses.values():
            yield (
                f"atoll_regions[{index}].floating_address is {region.floating_address}, the address"
                " of a host. Choose an unused address in the network of the load balancers"
            )


def _mixed_roles(answers: Answers) -> Iterator[str]:
    for index, region in enumerate(answers.regions):
        for host in sorted(set(region.hosts) & set(region.load_balancers)):
            yield (
                f"atoll_regions[{index}].load_balancers has {host}, which runs the registry: both"
                " need port 443. Use another host, or omit the load balancer of a single host"
            )


def _reused_stores(answers: Answers) -> Iterator[str]:
    seen: dict[str, str] = {}
    for index, region in enumerate(answers.regions):
        where = f"atoll_regions[{index}].store"
        identity = repr((region.store.driver, sorted(region.store.arguments.items(), key=str)))
        if region.store.driver and seen.setdefault(identity, where) != where:
            yield f"{where} is the same as {seen[identity]}. Each region needs its own bucket"


def _ca_names(answers: Answers) -> Iterator[str]:
    names = [path.rpartition("/")[2] for path in answers.extra_ca_files("ca.crt")]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield (
            f"atoll_ca_files has a file {name}, but another CA certificate is deployed under this"
            " name. Rename the file. Example: ceph-ca.crt"
        )

"""Filters that divide the hosts of a rollout into batches."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any


def rollout_batches(
    hosts: Sequence[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    within: Container[str] | None = None,
) -> list[list[str]]:
    """Return the batches of hosts that are rolled out one after the other.

    A batch has hosts of one site only, and the batches of a site follow each other. Its size is
    `atoll_batch`, a number or a percentage of the site's hosts. A batch never has all hosts of a
    site with several hosts.

    Args:
        hosts: The hosts of all sites in the order of the inventory.
        hostvars: The variables of each host. They are absent if a playbook is only listed.
        within: The hosts to roll out. By default, all hosts.
    """
    sites: dict[str, list[str]] = {}
    for host in hosts:
        site = hostvars[host]["registry_site"] if hostvars else ""
        sites.setdefault(str(site), []).append(host)
    batches = []
    for site_hosts in sites.values():
        batch = hostvars[site_hosts[0]].get("atoll_batch", 1) if hostvars else 1
        size = _batch_size(str(batch), len(site_hosts))
        chosen = [host for host in site_hosts if within is None or host in within]
        batches += [chosen[start : start + size] for start in range(0, len(chosen), size)]
    return batches


def _batch_size(batch: str, hosts: int) -> int:
    """Return the number of hosts in a batch of a site with this number of hosts."""
    size = hosts * int(batch[:-1]) // 100 if batch.endswith("%") else int(batch)
    return max(1, min(size, hosts - 1))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"rollout_batches": rollout_batches}

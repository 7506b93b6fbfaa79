"""Filters for sites on Kubernetes clusters, which playbooks do not connect to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.clusters import (
    GROUP,
    bundle_problems,
    read_cluster,
    running,
    running_sentence,
    store_problems,
    version_problems,
)
from jinja2 import pass_context

_Groups = Mapping[str, Sequence[str]]
_Hostvars = Mapping[str, Mapping[str, Any]]


@pass_context
def cluster_sites(
    context: Mapping[str, Any], groups: _Groups, hostvars: _Hostvars
) -> list[dict[str, Any]]:
    """Return the sites on clusters in the order of the inventory.

    Args:
        context: The variables of the host that the filter runs for.
        groups: The hosts of each group.
        hostvars: The variables of each host.
    """
    found = [
        read_cluster(host, hostvars[host], _bundle(context, hostvars[host]))
        for host in groups.get(GROUP, [])
    ]
    return [one.as_dict() for one in found]


@pass_context
def cluster_reports(  # noqa: PLR0917 - arguments of a filter have no names
    context: Mapping[str, Any],
    groups: _Groups,
    hostvars: _Hostvars,
    reported: Any,
    bundles: Sequence[str],
    location: str = "",
) -> list[dict[str, Any]]:
    """Return the sites on clusters with what their instances report.

    Args:
        context: The variables of the host that the filter runs for.
        groups: The hosts of each group.
        hostvars: The variables of each host.
        reported: The result of the module instance_info; without instances if it failed.
        bundles: The fingerprints of the bundles that instances may have.
        location: A location whose store the instances must be able to use.
    """
    known = isinstance(reported, Mapping) and "instances" in reported
    instances = reported["instances"] if known else []
    version = str(reported["version"]) if known else ""
    reports = []
    for host in groups.get(GROUP, []):
        cluster = read_cluster(host, hostvars[host], _bundle(context, hostvars[host]))
        alive = running(cluster, instances)
        found = ["no host of a site reports its instances"]
        if known:
            found = bundle_problems(cluster, alive, bundles)
            found += store_problems(alive, location) if location else []
        reports.append(
            {
                **cluster.as_dict(),
                "known": known,
                "instances": [
                    {key: one.get(key, "") for key in ("hostname", "role", "version", "bundle")}
                    for one in alive
                ],
                "locations_in_use": sorted({name for one in alive for name in one["stores"]}),
                "running": running_sentence(cluster, alive),
                "usable": any(one["stores"].get(cluster.location, {}).get("up") for one in alive),
                "unproven": found,
                "problems": [*found, *version_problems(alive, version)],
            }
        )
    return reports


def _bundle(context: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    """Return the bundle, which is the same for all sites.

    Templates in the variables of another host do not know hostvars, so the bundle of the host that
    the filter runs for is preferred.
    """
    own = context.get("registry_config")
    return variables.get("registry_config") if own is None else own


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"cluster_reports": cluster_reports, "cluster_sites": cluster_sites}

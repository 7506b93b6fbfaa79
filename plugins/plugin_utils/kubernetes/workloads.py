"""The Deployments of a site, and how pods of the registry may be disrupted."""

from __future__ import annotations

from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.pods import (
    METRICS_LABEL,
    METRICS_PORT,
    pod_template,
    preference,
    probes,
    variables,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import (
    MIRROR,
    REGISTRY,
    REPLICATION,
    Site,
)

# Seconds for a process to end after the time for its requests.
_END_SECONDS = 15
_ARGUMENTS = {
    REGISTRY: "registry-nomigrate",
    REPLICATION: "replication",
    MIRROR: "repomirror-nomigrate",
}
_REPLICAS = {
    REGISTRY: "kubernetes_replicas",
    REPLICATION: "kubernetes_replication_replicas",
    MIRROR: "kubernetes_mirror_replicas",
}
# Pods prefer different nodes, and then different zones.
_SPREAD = {"kubernetes.io/hostname": 100, "topology.kubernetes.io/zone": 50}


def deployments(site: Site) -> dict[str, Object]:
    """Return the Deployment of each component, without overrides."""
    return {component: _deployment(site, component) for component in site.components}


def disruption_budget(site: Site) -> Object:
    """Return the budget with which nodes are drained one pod after the other."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": site.metadata(REGISTRY, component=REGISTRY),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": site.selector(REGISTRY)}},
    }


def resources(site: Site, component: str) -> Object:
    """Return the requests and limits of a component."""
    kinds = {
        kind: site.options[f"kubernetes_{component}_{kind}"] for kind in ("requests", "limits")
    }
    return {kind: dict(values) for kind, values in kinds.items() if values}


def _deployment(site: Site, component: str) -> Object:
    container = _container(site, component)
    grace = site.options["registry_drain_timeout"] + _END_SECONDS
    if component == REGISTRY:
        grace += site.options["registry_drain_notice"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": site.metadata(component, component=component),
        "spec": {
            "replicas": 0 if site.stopped else site.options[_REPLICAS[component]],
            "selector": {"matchLabels": site.selector(component)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": pod_template(
                site,
                component,
                container,
                grace=grace,
                labels={METRICS_LABEL: "true"},
                affinity=_affinity(site, component),
            ),
        },
    }


def _container(site: Site, component: str) -> Object:
    ports = {"metrics": METRICS_PORT}
    if component == REGISTRY:
        ports = {"http": 8080, "https": 8443, **ports}
    return {
        "args": [_ARGUMENTS[component]],
        "env": variables(preference(site) | _environment(site, component)),
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "resources": resources(site, component),
        **probes(site, "http" if component == REGISTRY else "metrics"),
    }


def _environment(site: Site, component: str) -> dict[str, Any]:
    options = site.options
    if component == REGISTRY:
        return {
            "WORKER_COUNT_REGISTRY": options["registry_worker_count"],
            "ATOLL_CLIENT_CONNECTIONS": options["registry_client_connections"],
            "ATOLL_DRAIN_NOTICE": options["registry_drain_notice"],
            "ATOLL_DRAIN_TIMEOUT": options["registry_drain_timeout"],
        }
    if component == MIRROR:
        return {"ATOLL_MIRROR_COPIES": options["registry_mirror_copies"]}
    return {}


def _affinity(site: Site, component: str) -> Object:
    terms = [
        {
            "weight": weight,
            "podAffinityTerm": {
                "labelSelector": {"matchLabels": site.selector(component)},
                "topologyKey": key,
            },
        }
        for key, weight in _SPREAD.items()
    ]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}

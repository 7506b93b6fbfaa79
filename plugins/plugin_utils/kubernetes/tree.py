"""All files of a site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import (
    Document,
    Object,
    manifest,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.foundation import (
    bundle_secret,
    namespace,
    service_account,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.migration import (
    migration_job,
    superuser_secret,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.monitoring import (
    metrics_service,
    service_monitor,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.network import (
    ingress,
    registry_policy,
    route,
    service,
    tls_secret,
    worker_policy,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.overrides import (
    apply_overrides,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.podman import (
    podman_documents,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import REGISTRY, Site
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.workloads import (
    deployments,
    disruption_budget,
)

KUSTOMIZATION = "kustomization.yaml"


def render(site: Site) -> list[Document]:
    """Return all files of a site, the same for the same variables."""
    workloads = deployments(site)
    for component, deployment in workloads.items():
        apply_overrides(deployment, _overrides(site, component))
    job = migration_job(site)
    objects = {
        "namespace": namespace(site),
        "service-account": service_account(site),
        "bundle-secret": bundle_secret(site),
        **_clients(site),
        "registry-disruption-budget": disruption_budget(site),
        **{f"{component}-deployment": one for component, one in workloads.items()},
        **_migration(site, job),
        **_policies(site),
        **_monitoring(site),
    }
    manifests = [manifest(f"{name}.yaml", one) for name, one in objects.items()]
    return [
        manifest(KUSTOMIZATION, _kustomization([one.path for one in manifests])),
        *manifests,
        *podman_documents(site, workloads, job),
    ]


def _overrides(site: Site, component: str) -> Mapping[str, Any]:
    overrides = dict(site.options["kubernetes_overrides"].get(component) or {})
    if site.stopped:
        overrides.pop("replicas", None)
    return overrides


def _clients(site: Site) -> dict[str, Object]:
    found = {f"{REGISTRY}-service": service(site)}
    if site.options["kubernetes_ingress"] == "route":
        found["route"] = route(site)
    elif site.options["kubernetes_ingress"] == "ingress":
        found |= {"tls-secret": tls_secret(site), "ingress": ingress(site)}
    return found


def _migration(site: Site, job: Object) -> dict[str, Object]:
    # The first site migrates the database while this one is stopped.
    if site.stopped:
        return {}
    password = site.bundle.superuser_password
    secret = {"initial-superuser-secret": superuser_secret(site)} if password else {}
    return secret | {"migrate-job": job}


def _policies(site: Site) -> dict[str, Object]:
    if not site.options["kubernetes_network_policy"]:
        return {}
    return {
        "registry-network-policy": registry_policy(site),
        "workers-network-policy": worker_policy(site),
    }


def _monitoring(site: Site) -> dict[str, Object]:
    if not site.options["kubernetes_service_monitor"]:
        return {}
    return {"metrics-service": metrics_service(site), "service-monitor": service_monitor(site)}


def _kustomization(paths: list[str]) -> Object:
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": paths,
    }

"""`kubernetes_overrides`: changes of workloads, with the semantics of Quay's Operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object


def apply_overrides(deployment: Object, overrides: Mapping[str, Any]) -> None:
    """Apply the overrides of a component to its Deployment.

    Variables are set in every container, but not in init containers. Resources and the affinity
    are replaced, resources only in the first container. Labels and annotations are set for the
    Deployment and its pods.
    """
    spec = deployment["spec"]
    template = spec["template"]
    override_environment(template["spec"], overrides)
    if "replicas" in overrides:
        spec["replicas"] = overrides["replicas"]
    if "resources" in overrides:
        template["spec"]["containers"][0]["resources"] = dict(overrides["resources"])
    if "affinity" in overrides:
        template["spec"]["affinity"] = overrides["affinity"]
    for field in ("labels", "annotations"):
        for metadata in (deployment["metadata"], template["metadata"]):
            if overrides.get(field):
                metadata[field] = metadata.get(field, {}) | overrides[field]


def override_environment(pod: Object, overrides: Mapping[str, Any]) -> None:
    """Set variables in every container of a pod, but not in init containers.

    A known variable keeps its position, a new one is added at the end.
    """
    for container in pod["containers"]:
        environment = {one["name"]: one for one in container.get("env", [])}
        environment |= {one["name"]: dict(one) for one in overrides.get("env") or []}
        container["env"] = list(environment.values())

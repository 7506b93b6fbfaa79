"""The overrides that are refused, as Quay's Operator refuses them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.quantities import (
    quantity_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import (
    MIRROR,
    PREFIX,
    REGISTRY,
    REPLICATION,
)

_PREFERENCE = "QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
# The time until a pod is killed depends on these.
_DRAIN = {
    "ATOLL_DRAIN_NOTICE": "registry_drain_notice",
    "ATOLL_DRAIN_TIMEOUT": "registry_drain_timeout",
}
# The condition under which each optional component runs.
_CONDITIONS = {
    REPLICATION: "without FEATURE_STORAGE_REPLICATION",
    MIRROR: "without FEATURE_REPO_MIRROR or FEATURE_ORG_MIRROR, or with registry_mirror false",
}
# Components of Quay's Operator that have another name, or that are not part of the manifests.
_OTHERS = {
    "quay": "use registry, and replication for its replication worker",
    "clair": "run Clair on hosts of atoll_clair",
    "clairpostgres": "run Clair's database outside of the clusters",
    "postgres": "run PostgreSQL outside of the clusters, and name it in DB_URI",
    "redis": "run Redis outside of the clusters, and name it in BUILDLOGS_REDIS",
    "objectstorage": "configure stores in DISTRIBUTED_STORAGE_CONFIG",
    "horizontalpodautoscaler": "set kubernetes_replicas, because replicas are fixed",
    "monitoring": "set kubernetes_service_monitor",
    "route": "set kubernetes_ingress",
    "tls": "set registry_tls_certificate_file",
    "migrate": "use registry, whose variables the migration gets as well",
}
_TYPES: dict[str, tuple[type, str]] = {
    "env": (list, "a list of variables"),
    "replicas": (int, "a number"),
    "resources": (dict, "a map with requests and limits"),
    "labels": (dict, "a map of texts"),
    "annotations": (dict, "a map of texts"),
    "affinity": (dict, "a map"),
}
# Overrides of Quay's Operator that no workload here supports.
_UNSUPPORTED = {
    "securityContext": "pods always meet the Pod Security Standard restricted",
    "storageClassName": "no workload has a persistent volume",
    "volumeSize": "no workload has a persistent volume; see kubernetes_spool_size",
}
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_RESERVED_LABELS = re.compile(r"app\.kubernetes\.io/(?:name|instance|component)|atoll\.registry/.*")


def override_problems(
    overrides: Mapping[str, Any], components: Collection[str], preference: Collection[str]
) -> Iterator[str]:
    """Yield a sentence for each override that is refused, with the remedy.

    Args:
        overrides: The overrides by component.
        components: The components that run at the site.
        preference: The locations that the site prefers.
    """
    for component, values in overrides.items():
        place = f"kubernetes_overrides.{component}"
        if message := _component_problem(str(component), components):
            yield f"{place}: {message}"
        elif not isinstance(values, Mapping):
            yield f"{place} is no map: set {', '.join(_TYPES)}"
        else:
            for name, value in values.items():
                yield from _override_problems(f"{place}.{name}", str(name), value, preference)


def _component_problem(component: str, components: Collection[str]) -> str:
    if component in components:
        return ""
    if component in _CONDITIONS:
        return (
            f"the site does not run this component {_CONDITIONS[component]}: remove the overrides"
        )
    known = ", ".join((REGISTRY, *_CONDITIONS))
    remedy = _OTHERS.get(component, f"use one of {known}")
    return f"{component} is not a component of the manifests: {remedy}"


def _override_problems(
    place: str, name: str, value: Any, preference: Collection[str]
) -> Iterator[str]:
    if name in _UNSUPPORTED:
        yield f"{place} is not supported, because {_UNSUPPORTED[name]}: remove it"
        return
    if name not in _TYPES:
        similar = difflib.get_close_matches(name, _TYPES, n=1)
        remedy = f"did you mean {similar[0]}?" if similar else f"use one of {', '.join(_TYPES)}"
        yield f"{place} is not an override: {remedy}"
        return
    kind, description = _TYPES[name]
    has_type = isinstance(value, kind) and not isinstance(value, bool)
    if not has_type:
        yield f"{place} is not {description}: correct it"
    elif name == "env":
        yield from _variable_problems(place, value, preference)
    elif name == "replicas" and value < 0:
        yield f"{place} is negative: set 0 to stop the component, or more"
    elif name == "resources":
        yield from _resource_problems(place, value)
    elif name in ("labels", "annotations"):
        yield from _text_problems(place, name, value)


def _variable_problems(
    place: str, variables: list[Any], preference: Collection[str]
) -> Iterator[str]:
    for number, variable in enumerate(variables):
        name = variable.get("name") if isinstance(variable, Mapping) else None
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            yield f"{place}.{number} has no valid name: write name and value, or valueFrom"
            continue
        further = set(variable) - {"name", "value", "valueFrom"}
        if further or ("value" in variable and "valueFrom" in variable):
            yield f"{place}: {name} may only have value or valueFrom: remove the others"
        elif not isinstance(variable.get("value", ""), str):
            yield f"{place}: the value of {name} is no text: quote it"
        elif name in _DRAIN:
            yield f"{place}: {name} also determines when a pod is killed: set {_DRAIN[name]}"
        elif name == _PREFERENCE and not _is_preference(variable, preference):
            yield (
                f"{place}: {name} contradicts registry_storage_preference, which applies to"
                " registry, replication and mirror: remove the variable"
            )


def _is_preference(variable: Mapping[str, Any], preference: Collection[str]) -> bool:
    locations = re.split(r"[\s,]+", str(variable.get("value", "")).strip())
    return locations == list(preference)


def _resource_problems(place: str, resources: Mapping[str, Any]) -> Iterator[str]:
    for kind, quantities in resources.items():
        if kind not in ("requests", "limits"):
            yield f"{place}.{kind} is not supported: use requests and limits"
        elif not isinstance(quantities, Mapping):
            yield f"{place}.{kind} is no map: set cpu and memory"
        else:
            yield from quantity_problems(f"{place}.{kind}", quantities)


def _text_problems(place: str, kind: str, texts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in texts.items():
        if not isinstance(value, str):
            yield f"{place}: the value of {name} is no text: quote it"
        elif kind == "labels" and _RESERVED_LABELS.fullmatch(str(name)):
            yield f"{place}: {name} is the label that selects the pods: remove it"
        elif str(name).startswith(f"{PREFIX}/"):
            yield f"{place}: {name} is set by the role: remove it"

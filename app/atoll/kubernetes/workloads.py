"""`kubernetes_overrides`: changes of Quay's pods as changes of those of Atoll."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from atoll.kubernetes.components import MIRROR, QUAY, Components
from atoll.kubernetes.findings import Findings
from atoll.kubernetes.quay_registry import Overrides, QuayRegistry

# The Operator does not let an override change these labels.
_OPERATOR_LABELS = frozenset({"app", "quay-component", "quay-operator/quayregistry"})


def workload_overrides(
    registry: QuayRegistry,
    components: Components,
    environments: dict[str, list[dict[str, Any]]],
    workloads: Collection[str],
    findings: Findings,
) -> dict[str, dict[str, Any]]:
    """Return the overrides by workload: `registry`, `replication` and `mirror`.

    Quay's pods run its worker for replication as well, so that it gets their variables, labels,
    annotations and affinity, and ends with them.

    Args:
        registry: the registry.
        components: its components.
        environments: the variables of the components `quay` and `mirror`.
        workloads: those that run at the site.
        findings: gets what is not taken.
    """
    quay = _taken(registry, components, QUAY, environments[QUAY], findings)
    replication = {name: one for name, one in quay.items() if name not in {"replicas", "resources"}}
    if quay.get("replicas") == 0:
        replication["replicas"] = 0
        findings.note(
            registry.place(*components.path(QUAY), "overrides", "replicas"),
            "quay: 0 replicas stop the registry and its replication; for an upgrade in the order of"
            " Quay's runbook, render with -e atoll_strategy=stop_secondaries instead",
        )
    mirror = _taken(registry, components, MIRROR, environments[MIRROR], findings)
    found = {"registry": quay, "replication": replication, "mirror": mirror}
    return {
        workload: overrides
        for workload, overrides in found.items()
        if overrides and workload in workloads
    }


def _taken(
    registry: QuayRegistry,
    components: Components,
    kind: str,
    environment: list[dict[str, Any]],
    findings: Findings,
) -> dict[str, Any]:
    component = components.get(kind)
    if component is None or not components.is_managed(kind):
        return {}
    given = component.overrides
    path = (*components.path(kind), "overrides")
    found = {
        "env": environment or None,
        "replicas": given.replicas,
        "resources": given.resources,
        "labels": _own_labels(given, registry, path, kind, findings),
        "annotations": given.annotations,
        "affinity": given.affinity,
    }
    if any(label in json.dumps(given.affinity) for label in ("quay-component", "quay-operator/")):
        findings.note(
            registry.place(*path, "affinity"),
            f"{kind}: affinity selects pods by labels of the Operator, which Atoll's pods do not"
            " have; use app.kubernetes.io/component: registry",
        )
    return {name: value for name, value in found.items() if value is not None and value != {}}


def _own_labels(
    overrides: Overrides,
    registry: QuayRegistry,
    path: tuple[str | int, ...],
    kind: str,
    findings: Findings,
) -> dict[str, str]:
    labels = overrides.labels or {}
    for name in labels.keys() & _OPERATOR_LABELS:
        findings.note(
            registry.place(*path, "labels", name),
            f"{kind}: the label {name} is not taken: the Operator ignores it in overrides",
        )
    return {name: value for name, value in labels.items() if name not in _OPERATOR_LABELS}

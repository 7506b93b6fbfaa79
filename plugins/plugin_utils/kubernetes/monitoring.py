"""The metrics of all pods for the Prometheus Operator."""

from __future__ import annotations

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.pods import (
    METRICS_LABEL,
    METRICS_PORT,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import Site

_METRICS = "metrics"


def metrics_service(site: Site) -> Object:
    """Return a Service without an address, which lists all pods with metrics."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": site.metadata(_METRICS, component=_METRICS),
        "spec": {
            "clusterIP": "None",
            # The metrics of an unhealthy pod are those that matter.
            "publishNotReadyAddresses": True,
            "selector": site.selector() | {METRICS_LABEL: "true"},
            "ports": [{"name": _METRICS, "port": METRICS_PORT, "targetPort": _METRICS}],
        },
    }


def service_monitor(site: Site) -> Object:
    """Return the ServiceMonitor of all pods with metrics."""
    metadata = site.metadata(_METRICS, component=_METRICS)
    metadata["labels"] |= site.options["kubernetes_service_monitor_labels"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": site.selector(_METRICS)},
            "podTargetLabels": ["app.kubernetes.io/component"],
            "endpoints": [
                {
                    "port": _METRICS,
                    "interval": "30s",
                    "relabelings": [{"targetLabel": "site", "replacement": site.name}],
                }
            ],
        },
    }

"""The page of metrics, from the collectors that the modules register."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import atoll
import prometheus_client

from reference.markdown import code, page, paragraph, sentence, table


def metrics_page() -> str:
    """Return the page of all metrics, by name."""
    rows = [
        (code(_full_name(metric)), metric._type, sentence(metric._documentation))
        for metric in sorted(_metrics(), key=_full_name)
    ]
    return page(
        "Metrics",
        "the collectors in app/atoll",
        [
            paragraph(
                "Metrics in Prometheus' format, at port 9091 of `atoll-registry`, port 9092 of"
                " `atoll-replication` and port 9093 of `atoll-mirror`. `location` is the name of a"
                " store in the bundle. For access, processes, alerts and estimates see"
                " [Monitor](../how-to/monitor.md)."
            ),
            table(("metric", "type", "meaning"), rows),
        ],
    )


def exported_series() -> dict[str, frozenset[str]]:
    """Return the labels of each series that a process can export, by the series' name."""
    series: dict[str, frozenset[str]] = {}
    for metric in _metrics():
        labels = frozenset(metric._labelnames)
        if metric._type == "histogram":
            series[f"{metric._name}_bucket"] = labels | {"le"}
            series[f"{metric._name}_sum"] = series[f"{metric._name}_count"] = labels
        else:
            series[f"{metric._name}{_suffix(metric)}"] = labels
    return series


def _metrics() -> Iterator[Any]:
    """Return every collector of Atoll. Collectors are registered when their module is imported."""
    for module in pkgutil.walk_packages(atoll.__path__, "atoll."):
        importlib.import_module(module.name)
    for collector in prometheus_client.REGISTRY._collector_to_names:
        if getattr(collector, "_name", "").startswith(("atoll_", "quay_")):
            yield collector


def _full_name(metric: Any) -> str:
    labels = ",".join(metric._labelnames)
    return f"{metric._name}{_suffix(metric)}" + (f"{{{labels}}}" if labels else "")


def _suffix(metric: Any) -> str:
    return "_total" if metric._type == "counter" else ""

"""Metrics of security scans: the work of one process, and the queue of all."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from atoll.scanning.scans import Scans

SCANS_TOTAL = Counter(
    "atoll_security_scans",
    "Scans that this process ended: the status of the image, or the reason of a failure",
    ["outcome"],
)
SCAN_SECONDS = Histogram(
    "atoll_security_scan_duration_seconds",
    "Time in which this process had an image indexed and read its report",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 600),
)
_QUEUE = Gauge(
    "atoll_security_scan_queue",
    "Images by the status of their scan, as all processes see them; at most 100,000 are counted",
    ["status"],
    multiprocess_mode="mostrecent",
)
_OLDEST = Gauge(
    "atoll_security_scan_queue_oldest_seconds",
    "Time for which the oldest due image has waited for its scan; 0 if none is due",
    multiprocess_mode="mostrecent",
)


def export_scans(scans: Scans) -> None:
    """Export the figures of the queue.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    figures = scans.queue_figures()
    for state, number in figures.numbers.items():
        _QUEUE.labels(state.name.lower()).set(number)
    _OLDEST.set(figures.oldest_seconds)

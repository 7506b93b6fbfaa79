"""Metrics of the work of one process for mirrors. Those of `mirroring/metrics.py` are of all."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from atoll.mirroring.mirror_records import SUCCESS
from atoll.mirroring.runs.endings import FinishedRun

WORKERS_ACTIVE = Gauge(
    "quay_repository_mirror_workers_active", "Mirror workers in this process: 1 while it claims"
)
BYTES = Counter(
    "atoll_mirror_bytes", "Bytes that this process received from upstreams", ["upstream"]
)
# Quay's buckets, in seconds.
_BUCKETS = (60, 300, 900, 3600)
_FAILURES = Counter(
    "quay_repository_mirror_sync_failures",
    "Failed attempts of this process to plan a run or to copy a tag",
    ["namespace", "reason"],
)
_DURATION = Histogram(
    "quay_repository_mirror_sync_duration_seconds",
    "Time from the start to the end of the runs of mirrors that this process ended",
    ["namespace"],
    buckets=_BUCKETS,
)
_ORGANIZATION_FAILURES = Counter(
    "quay_org_mirror_sync_failures",
    "Failed attempts of this process to plan a run of an organization's mirror, or to copy a tag",
    ["namespace", "reason"],
)
_ORGANIZATION_RUNS = Counter(
    "quay_org_mirror_repo_sync",
    "Runs of mirrors of organizations that this process ended: `success` or `failure`",
    ["status"],
)
_ORGANIZATION_DURATION = Histogram(
    "quay_org_mirror_repo_sync_duration_seconds",
    "Time from start to end of the runs of mirrors of organizations that this process ended",
    buckets=_BUCKETS,
)


def count_failure(namespace: str, reason: str, *, of_organization: bool) -> None:
    """Count a failed attempt to plan a run or to copy a tag.

    Args:
        namespace: The namespace of the mirror.
        reason: Quay's name of the failure.
        of_organization: Whether the mirror belongs to that of its organization.
    """
    counter = _ORGANIZATION_FAILURES if of_organization else _FAILURES
    counter.labels(namespace, reason).inc()


def count_run(run: FinishedRun) -> None:
    """Count a run that this process ended."""
    if run.of_organization:
        status = "success" if run.outcome.status == SUCCESS else "failure"
        _ORGANIZATION_RUNS.labels(status).inc()
        _ORGANIZATION_DURATION.observe(run.seconds)
    else:
        _DURATION.labels(run.repository.namespace).observe(run.seconds)

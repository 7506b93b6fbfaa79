"""Metrics of mirrors from the database, so that they survive restarts.

Each process that exports them exports those of all mirrors.
"""

from __future__ import annotations

from prometheus_client import Gauge

from atoll.db.pool import Database
from atoll.mirroring.status import MirrorStatus, MirrorStatuses
from atoll.upstream.usage import upstream_usage

_LABELS = ("namespace", "repository")

PENDING_TAGS = Gauge(
    "quay_repository_mirror_pending_tags", "Tags that the current run has yet to copy", _LABELS
)
LAST_STATUS = Gauge(
    "quay_repository_mirror_last_sync_status",
    "Outcome of the last run: 0 failed or cancelled, 1 succeeded, 2 in progress",
    _LABELS,
)
COMPLETE = Gauge(
    "quay_repository_mirror_sync_complete",
    "Whether the last finished run copied all selected tags",
    _LABELS,
)
LAST_TIMESTAMP = Gauge(
    "quay_repository_mirror_last_sync_timestamp",
    "When the last run finished, in Unix time",
    _LABELS,
)
DUE = Gauge("atoll_mirror_due", "Mirrors whose run is due or requested, and has not started")
OLDEST_SUCCESS = Gauge(
    "atoll_mirror_oldest_success_seconds",
    "Time since the last success of the scheduled mirror for which it is longest, in seconds",
)
BLOCKED = Gauge(
    "atoll_upstream_blocked_seconds",
    "Time for which the upstream asked for no requests, in seconds",
    ["upstream"],
)
_PER_MIRROR = (PENDING_TAGS, LAST_STATUS, COMPLETE, LAST_TIMESTAMP)
_FAILED, _SUCCEEDED, _RUNNING = 0, 1, 2


def export_mirrors(database: Database) -> None:
    """Update the metrics of mirrors and upstreams.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    mirrors = MirrorStatuses(database).all()
    upstreams = upstream_usage(database)
    for gauge in (*_PER_MIRROR, BLOCKED):
        gauge.clear()
    for mirror in mirrors:
        _export(mirror)
    DUE.set(sum(one.is_due for one in mirrors))
    scheduled = [one.seconds_without_success for one in mirrors if one.is_active]
    OLDEST_SUCCESS.set(max(scheduled, default=0))
    for host in {one.host for one in upstreams}:
        BLOCKED.labels(host).set(max(one.blocked for one in upstreams if one.host == host))


def _export(mirror: MirrorStatus) -> None:
    labels = mirror.namespace, mirror.name
    running = mirror.run is not None and mirror.run.outcome is None
    PENDING_TAGS.labels(*labels).set(mirror.run.tags_pending if mirror.run else 0)
    succeeded = mirror.last_outcome == "SUCCESS"
    if running:
        LAST_STATUS.labels(*labels).set(_RUNNING)
    elif mirror.last_outcome is not None:
        LAST_STATUS.labels(*labels).set(_SUCCEEDED if succeeded else _FAILED)
    if mirror.last_run_at is not None:
        COMPLETE.labels(*labels).set(succeeded)
        LAST_TIMESTAMP.labels(*labels).set(mirror.last_run_at.timestamp())

"""Metrics of mirrors from the database, so that they survive restarts.

Each process that exports them exports those of all mirrors.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Gauge

from atoll.db.pool import Database
from atoll.mirroring.mirror_records import SYNC_NOW, SYNCING
from atoll.mirroring.organizations.organization_status import (
    OrganizationStatus,
    OrganizationStatuses,
)
from atoll.mirroring.organizations.records import SKIP
from atoll.mirroring.status import MirrorStatus, MirrorStatuses
from atoll.upstream.usage import upstream_usage

_LABELS = ("namespace", "repository")


class _RunGauges:
    """The gauges of mirrors of one kind."""

    def __init__(self, prefix: str, kind: str) -> None:
        self._pending_tags = Gauge(
            f"{prefix}_pending_tags",
            f"Tags that the current run of {kind} has yet to copy",
            _LABELS,
        )
        self._last_status = Gauge(
            f"{prefix}_last_sync_status",
            f"Outcome of the last run of {kind}: 0 failed or cancelled, 1 succeeded, 2 in progress",
            _LABELS,
        )
        self._complete = Gauge(
            f"{prefix}_sync_complete",
            f"Whether the last finished run of {kind} copied all selected tags",
            _LABELS,
        )
        self._last_timestamp = Gauge(
            f"{prefix}_last_sync_timestamp",
            f"When the last run of {kind} finished, in Unix time",
            _LABELS,
        )

    def clear(self) -> None:
        """Remove all samples."""
        for gauge in (
            self._pending_tags,
            self._last_status,
            self._complete,
            self._last_timestamp,
        ):
            gauge.clear()

    def export(self, mirror: MirrorStatus) -> None:
        """Set the samples of a mirror."""
        labels = mirror.namespace, mirror.name
        running = mirror.run is not None and mirror.run.outcome is None
        self._pending_tags.labels(*labels).set(mirror.run.tags_pending if mirror.run else 0)
        succeeded = mirror.last_outcome == "SUCCESS"
        if running:
            self._last_status.labels(*labels).set(_RUNNING)
        elif mirror.last_outcome is not None:
            self._last_status.labels(*labels).set(_SUCCEEDED if succeeded else _FAILED)
        if mirror.last_run_at is not None:
            self._complete.labels(*labels).set(succeeded)
            self._last_timestamp.labels(*labels).set(mirror.last_run_at.timestamp())


_OF_REPOSITORIES = _RunGauges("quay_repository_mirror", "a mirror")
_OF_ORGANIZATIONS = _RunGauges("quay_org_mirror", "a mirror of an organization's mirror")
DISCOVERY_STATUS = Gauge(
    "quay_org_mirror_last_discovery_status",
    "Outcome of the last discovery: 0 failed or cancelled, 1 succeeded, 2 in progress",
    ["namespace"],
)
DISCOVERY_TIMESTAMP = Gauge(
    "quay_org_mirror_last_discovery_timestamp",
    "When the last discovery ended, in Unix time",
    ["namespace"],
)
DISCOVERIES_PENDING = Gauge(
    "quay_org_mirror_configs_pending_discovery",
    "Mirrored organizations whose discovery is requested or in progress",
)
DISCOVERED = Gauge(
    "quay_org_mirror_repos_discovered",
    "Repositories that the last discoveries found and selected, of all mirrored organizations",
)
UNMIRRORED = Gauge(
    "quay_org_mirror_repositories_unmirrored",
    "Mirrors of mirrored organizations that have not succeeded yet",
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
_FAILED, _SUCCEEDED, _RUNNING = 0, 1, 2


def export_mirrors(database: Database) -> None:
    """Update the metrics of mirrors and upstreams.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    mirrors = MirrorStatuses(database).all()
    upstreams = upstream_usage(database)
    BLOCKED.clear()
    _OF_REPOSITORIES.clear()
    _OF_ORGANIZATIONS.clear()
    for mirror in mirrors:
        (_OF_ORGANIZATIONS if mirror.of_organization else _OF_REPOSITORIES).export(mirror)
    _export_organizations(OrganizationStatuses(database).all())
    UNMIRRORED.set(sum(one.of_organization and one.last_success_at is None for one in mirrors))
    DUE.set(sum(one.is_due for one in mirrors))
    scheduled = [one.seconds_without_success for one in mirrors if one.is_active]
    OLDEST_SUCCESS.set(max(scheduled, default=0))
    for host in {one.host for one in upstreams}:
        BLOCKED.labels(host).set(max(one.blocked for one in upstreams if one.host == host))


def _export_organizations(organizations: Sequence[OrganizationStatus]) -> None:
    DISCOVERY_STATUS.clear()
    DISCOVERY_TIMESTAMP.clear()
    pending = 0
    for one in organizations:
        pending += one.sync_status in {SYNC_NOW, SYNCING}
        if one.sync_status == SYNCING:
            DISCOVERY_STATUS.labels(one.organization).set(_RUNNING)
        elif one.finished_at is not None:
            succeeded = one.finished_at == one.last_success_at
            DISCOVERY_STATUS.labels(one.organization).set(_SUCCEEDED if succeeded else _FAILED)
        if one.finished_at is not None:
            DISCOVERY_TIMESTAMP.labels(one.organization).set(one.finished_at.timestamp())
    DISCOVERIES_PENDING.set(pending)
    DISCOVERED.set(
        sum(
            number
            for one in organizations
            for status, number in one.repositories.items()
            if status != SKIP
        )
    )

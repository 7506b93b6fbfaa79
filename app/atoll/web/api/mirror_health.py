"""The health of mirrors: of all, of a namespace and of an organization that is a mirror."""

from __future__ import annotations

import http.client
from datetime import UTC, datetime
from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.organizations import OrganizationUnknown
from atoll.mirroring.health import MirrorDetail, MirrorHealth, MirrorHealthReporter
from atoll.mirroring.organizations.organization_health import OrganizationHealthReporter
from atoll.mirroring.organizations.records import SKIP
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation


class HealthQuery(RequestModel):
    """The namespace, and the page of the list of mirrors."""

    namespace: str | None = Field(default=None, max_length=255)
    detailed: bool = False
    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, lt=2**31)


class WorkersSchema(TypedDict):
    """The processes that run mirrors."""

    status: str
    active: int
    configured: int


class IssueSchema(TypedDict):
    """A problem."""

    severity: str
    message: str
    timestamp: str


class MirrorHealthSchema(TypedDict):
    """The health of mirrors."""

    healthy: bool
    workers: WorkersSchema
    repositories: dict[str, Any]
    tags_pending: int
    last_check: str
    issues: NotRequired[list[IssueSchema]]


class DiscoverySchema(TypedDict):
    """The current or last discovery of the repositories of an organization."""

    sync_status: str
    is_enabled: bool
    overdue: bool
    last_success: str | None
    next_date: str | None
    retries_remaining: int
    reason: str | None
    message: str | None


class OrganizationMirrorHealthSchema(MirrorHealthSchema):
    """The health of the mirror of an organization."""

    discovery: DiscoverySchema


class RepositoryMirrorHealth:
    """`repository/mirror/health`."""

    def __init__(self, reporter: MirrorHealthReporter, namespaces: Namespaces) -> None:
        self._reporter = reporter
        self._namespaces = namespaces

    @operation(
        "getRepositoryMirrorHealth",
        query=HealthQuery,
        response=MirrorHealthSchema,
        scope="repo:read",
    )
    def on_get(self, call: Call) -> Any:
        """Get the health of mirrors; the status is 503 if they are unhealthy."""
        query: HealthQuery = call.query
        _require_reader(call, self._namespaces, query.namespace)
        health = self._reporter.check(query.namespace)
        body = _serialize(call, health)
        if query.detailed:
            details, more = self._reporter.details(query.namespace, query.limit, query.offset)
            body["repositories"]["details"] = [_serialize_detail(one) for one in details]
            body["repositories"]["pagination"] = {
                "limit": query.limit,
                "offset": query.offset,
                "has_more": more,
            }
        return body


class SuperuserMirrorHealth:
    """`superuser/mirror/health`."""

    def __init__(self, reporter: MirrorHealthReporter) -> None:
        self._reporter = reporter

    @operation("getSuperuserMirrorHealth", response=MirrorHealthSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the health of all mirrors as counts; the status is 503 if they are unhealthy."""
        call.require_superuser()
        body = _serialize(call, self._reporter.check(named=False))
        del body["issues"]
        return body


class OrganizationMirrorHealth:
    """`organization/{orgname}/mirror/health`."""

    def __init__(self, reporter: OrganizationHealthReporter, namespaces: Namespaces) -> None:
        self._reporter = reporter
        self._namespaces = namespaces

    @operation("getOrgMirrorHealth", response=OrganizationMirrorHealthSchema, scope="repo:read")
    def on_get(self, call: Call, orgname: str) -> Any:
        """Get the health of the mirror of an organization; the status is 503 if it is unhealthy."""
        _require_reader(call, self._namespaces, orgname)
        health = self._reporter.check(orgname)
        discovery = health.discovery
        body = _serialize(call, health.mirrors)
        body["repositories"] |= {
            "skipped": discovery.repositories[SKIP],
            "conflicts": health.conflicts,
        }
        return {
            **body,
            "discovery": {
                "sync_status": discovery.sync_status,
                "is_enabled": discovery.is_enabled,
                "overdue": discovery.is_overdue,
                "last_success": _formatted_or_none(discovery.last_success_at),
                "next_date": _formatted_or_none(discovery.next_at),
                "retries_remaining": discovery.retries_remaining,
                "reason": discovery.reason,
                "message": discovery.message,
            },
        }


def _require_reader(call: Call, namespaces: Namespaces, namespace: str | None) -> None:
    """Raise unless the caller is a superuser, an auditor, or a member of the namespace."""
    if call.actor.superuser or call.actor.auditor or call.actor.username == namespace:
        return
    if namespace is None:
        raise call.forbidden()
    try:
        namespaces.require_member(call, namespace)
    except OrganizationUnknown as error:
        # It may be the namespace of another user.
        raise call.forbidden() from error


def _serialize(call: Call, health: MirrorHealth) -> MirrorHealthSchema:
    """Return the body of a response, and set its status and headers."""
    call.resp.set_header("Cache-Control", "no-cache, no-store, must-revalidate")
    if not health.healthy:
        call.status = http.client.SERVICE_UNAVAILABLE
    checked = _formatted(health.checked_at)
    return {
        "healthy": health.healthy,
        "workers": {
            "status": "healthy" if health.healthy else "degraded",
            "active": health.workers_active,
            "configured": health.workers_expected,
        },
        "repositories": {
            "total": health.total,
            "syncing": health.syncing,
            "completed": health.completed,
            "failed": health.failed,
            "never_run": health.never_run,
        },
        "tags_pending": health.tags_pending,
        "last_check": checked,
        "issues": [
            {"severity": one.severity, "message": one.message, "timestamp": checked}
            for one in health.issues
        ],
    }


def _serialize_detail(one: MirrorDetail) -> dict[str, Any]:
    return {
        "namespace": one.namespace,
        "repository": one.repository,
        "sync_status": one.sync_status,
        "is_enabled": one.is_enabled,
        "last_sync": _formatted_or_none(one.last_sync),
        "retries_remaining": one.retries_remaining,
    }


def _formatted_or_none(date: datetime | None) -> str | None:
    return None if date is None else _formatted(date)


def _formatted(date: datetime) -> str:
    return date.astimezone(UTC).isoformat().replace("+00:00", "Z")

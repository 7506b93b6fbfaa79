"""`superuser/mirrors`: the mirrors of all namespaces, and the use of their upstreams."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.db.pool import Database
from atoll.mirroring.organizations.organization_status import (
    OrganizationStatus,
    OrganizationStatuses,
)
from atoll.mirroring.status import MirrorStatus, MirrorStatuses, RunStatus
from atoll.upstream.limits import UpstreamLimits
from atoll.upstream.reference import registry_of_host
from atoll.upstream.usage import UpstreamUsage, upstream_usage
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import utc

SyncStatus = Literal["NEVER_RUN", "SYNC_NOW", "SYNCING", "SUCCESS", "FAIL", "CANCEL"]


class MirrorListQuery(RequestModel):
    """The status of mirrors, and the page of the list."""

    status: SyncStatus | None = None
    limit: int = Field(default=100, ge=1, le=500)
    next_page: str = Field(default="", max_length=511)


class UpstreamListQuery(RequestModel):
    """The page of the list."""

    limit: int = Field(default=100, ge=1, le=500)
    next_page: int | None = Field(default=None, ge=0, lt=2**63)


class RunProgressSchema(TypedDict):
    """A run in progress; `tags_done` of `tags_total` are copied, unchanged or failed."""

    cause: str
    site: str
    started_date: str
    tags_total: int
    tags_done: int
    tags_failed: int
    bytes_copied: int


class ListedMirrorSchema(TypedDict):
    """A mirror of a repository.

    It is `overdue` if scheduled runs have not succeeded for two intervals. `run` is null unless a
    run is in progress.
    """

    repository: str
    repository_state: str
    external_reference: str
    robot_username: str
    of_organization: bool
    is_enabled: bool
    sync_interval: int
    sync_status: str
    reason: str | None
    message: str | None
    sync_retries_remaining: int
    overdue: bool
    next_date: str | None
    last_run_date: str | None
    last_success_date: str | None
    run: RunProgressSchema | None


class MirrorListSchema(TypedDict):
    """A page of mirrors by repository, and the token of the next page."""

    mirrors: list[ListedMirrorSchema]
    next_page: NotRequired[str]


class ListedOrganizationMirrorSchema(TypedDict):
    """A mirror of an organization, and the numbers of its repositories by their status.

    It is `overdue` if scheduled discoveries have not succeeded for two intervals.
    """

    organization: str
    external_registry_type: str
    external_reference: str
    robot_username: str
    is_enabled: bool
    sync_interval: int
    sync_status: str
    reason: str | None
    message: str | None
    sync_retries_remaining: int
    overdue: bool
    next_date: str | None
    last_run_date: str | None
    last_success_date: str | None
    repo_sync_status_counts: dict[str, int]


class OrganizationMirrorListSchema(TypedDict):
    """A page of mirrors by organization, and the token of the next page."""

    mirrors: list[ListedOrganizationMirrorSchema]
    next_page: NotRequired[str]


class UpstreamSchema(TypedDict):
    """The use of an upstream in the name of an account, by the processes of all sites.

    `own_route` means that mirrors reach it through a proxy or with TLS settings of their own. The
    upstream announced at `announced_date` that `announced_remaining` of `announced_limit` pulls are
    left; they are null if it announces none. UPSTREAM_LIMITS permits `pulls_limit` pulls, null if
    it does not limit them, of which `pulls_remaining` are left until `pulls_reset_date`, null while
    none is used.
    """

    host: str
    registry: str
    account: str
    own_route: bool
    paused_until: str | None
    announced_remaining: int | None
    announced_limit: int | None
    announced_date: str | None
    pulls_limit: int | None
    pulls_remaining: int | None
    pulls_reset_date: str | None
    concurrent_limit: int
    in_use: int
    wanted: int
    processes: int


class UpstreamListSchema(TypedDict):
    """A page of upstreams by host and account, and the token of the next page."""

    upstreams: list[UpstreamSchema]
    next_page: NotRequired[str]


class MirrorList:
    """`superuser/mirrors`."""

    def __init__(self, database: Database) -> None:
        self._statuses = MirrorStatuses(database)

    @operation("listMirrors", query=MirrorListQuery, response=MirrorListSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List the mirrors of all repositories with their states, by repository."""
        call.require_superuser()
        query: MirrorListQuery = call.query
        namespace, _, name = query.next_page.partition("/")
        found = self._statuses.page(query.limit + 1, status=query.status, after=(namespace, name))
        page = found[: query.limit]
        response = {"mirrors": [_mirror(one) for one in page]}
        return _paged(response, page[-1].repository if len(found) > len(page) else None)


class OrganizationMirrorList:
    """`superuser/mirrors/organizations`."""

    def __init__(self, database: Database) -> None:
        self._statuses = OrganizationStatuses(database)

    @operation(
        "listOrganizationMirrors",
        query=MirrorListQuery,
        response=OrganizationMirrorListSchema,
        scope="super:user",
    )
    def on_get(self, call: Call) -> Any:
        """List the mirrors of all organizations with the states of their discoveries, by name."""
        call.require_superuser()
        query: MirrorListQuery = call.query
        found = self._statuses.page(query.limit + 1, status=query.status, after=query.next_page)
        page = found[: query.limit]
        response = {"mirrors": [_organization(one) for one in page]}
        return _paged(response, page[-1].organization if len(found) > len(page) else None)


class UpstreamList:
    """`superuser/mirrors/upstreams`."""

    def __init__(self, database: Database, limits: Callable[[str], UpstreamLimits]) -> None:
        """Provide the resource.

        Args:
            database: Where the use of upstreams is shared.
            limits: Returns the limits of a registry, such as `docker.io`.
        """
        self._database = database
        self._limits = limits

    @operation(
        "listUpstreams", query=UpstreamListQuery, response=UpstreamListSchema, scope="super:user"
    )
    def on_get(self, call: Call) -> Any:
        """List the upstreams that requests were sent to, with pauses and remaining pulls."""
        call.require_superuser()
        query: UpstreamListQuery = call.query
        found = upstream_usage(self._database, limit=query.limit + 1, after=query.next_page)
        page = found[: query.limit]
        response = {"upstreams": [self._upstream(one) for one in page]}
        return _paged(response, str(page[-1].id) if len(found) > len(page) else None)

    def _upstream(self, one: UpstreamUsage) -> UpstreamSchema:
        registry = registry_of_host(one.host)
        limits = self._limits(registry)
        return {
            "host": one.host,
            "registry": registry,
            "account": one.account,
            "own_route": one.has_route,
            "paused_until": _date(one.blocked_until),
            "announced_remaining": one.remaining,
            "announced_limit": one.allowance,
            "announced_date": _date(one.remaining_at),
            "pulls_limit": limits.pulls,
            "pulls_remaining": None if limits.pulls is None else max(0, limits.pulls - one.pulls),
            "pulls_reset_date": None if limits.pulls is None else _date(one.period_ends),
            "concurrent_limit": limits.concurrent,
            "in_use": one.in_use,
            "wanted": one.wanted,
            "processes": one.processes,
        }


def _paged(response: dict[str, Any], next_page: str | None) -> dict[str, Any]:
    return response if next_page is None else {**response, "next_page": next_page}


def _mirror(one: MirrorStatus) -> ListedMirrorSchema:
    return {
        "repository": one.repository,
        "repository_state": one.state,
        "external_reference": one.reference,
        "robot_username": one.robot,
        "of_organization": one.of_organization,
        "is_enabled": one.is_enabled,
        "sync_interval": one.interval,
        "sync_status": one.sync_status,
        "reason": one.reason,
        "message": one.message,
        "sync_retries_remaining": one.retries_remaining,
        "overdue": one.is_overdue,
        "next_date": _date(one.next_at),
        "last_run_date": _date(one.last_run_at),
        "last_success_date": _date(one.last_success_at),
        "run": _progress(one.run) if one.run and one.run.finished_at is None else None,
    }


def _progress(run: RunStatus) -> RunProgressSchema:
    return {
        "cause": run.cause,
        "site": run.site,
        "started_date": utc(run.started_at),
        "tags_total": run.tags_total,
        "tags_done": run.tags_unchanged + run.tags_copied + run.tags_failed,
        "tags_failed": run.tags_failed,
        "bytes_copied": run.bytes_copied,
    }


def _organization(one: OrganizationStatus) -> ListedOrganizationMirrorSchema:
    return {
        "organization": one.organization,
        "external_registry_type": one.kind,
        "external_reference": one.reference,
        "robot_username": one.robot,
        "is_enabled": one.is_enabled,
        "sync_interval": one.interval,
        "sync_status": one.sync_status,
        "reason": one.reason,
        "message": one.message,
        "sync_retries_remaining": one.retries_remaining,
        "overdue": one.is_overdue,
        "next_date": _date(one.next_at),
        "last_run_date": _date(one.finished_at),
        "last_success_date": _date(one.last_success_at),
        "repo_sync_status_counts": one.repositories,
    }


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else utc(moment)

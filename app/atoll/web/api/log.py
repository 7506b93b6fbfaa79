"""`…/logs` and `…/aggregatelogs`: the audit log of a repository, a namespace, or the registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, field_validator
from typing_extensions import TypedDict

from atoll.audit.log import Audit, Entry, Selection
from atoll.auth.access import ADMIN
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import http_date, member

_PAGE = 20
_DAY = timedelta(days=1)
# Quay's default period.
_DEFAULT_DAYS = timedelta(days=7)
_DATE = "%m/%d/%Y"


class Period(RequestModel):
    """The first and the last day, in UTC; by default the last week."""

    starttime: str | None = Field(default=None, max_length=10)
    endtime: str | None = Field(default=None, max_length=10)

    @field_validator("starttime", "endtime")
    @classmethod
    def _is_date(cls, value: str | None) -> str | None:
        if value:
            _day(value)
        return value

    def bounds(self) -> tuple[datetime, datetime]:
        """Return the start and the exclusive end. Raises InvalidRequest."""
        try:
            end = (_day(self.endtime) if self.endtime else datetime.now(UTC)) + _DAY
            start = _day(self.starttime) if self.starttime else end - _DEFAULT_DAYS - _DAY
        except OverflowError as error:
            raise InvalidRequest("starttime and endtime: out of range") from error
        if start >= end:
            raise InvalidRequest("starttime must not be after endtime")
        return start, end


class AggregateQuery(Period):
    """A period, and the user whose actions to select."""

    performer: str | None = Field(default=None, max_length=255)


class LogQuery(AggregateQuery):
    """A selection of entries, and the page of results."""

    next_page: int | None = Field(default=None, ge=0, lt=2**63)


class AggregateSchema(TypedDict):
    """The number of entries of a kind on a day."""

    kind: str
    count: int
    datetime: str | None


class _LogBase:
    """Base of the resources: lists and counts entries."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def _page(
        self, call: Call, namespace: str | None = None, repository: str | None = None
    ) -> dict[str, Any]:
        query: LogQuery = call.query
        selection = _selection(query, namespace, repository)
        entries, more = self._audit.list(selection, query.next_page, _PAGE)
        response: dict[str, Any] = {
            "start_time": http_date(selection.start),
            "end_time": http_date(selection.end),
            "logs": [_serialize(entry) for entry in entries],
        }
        return response if more is None else {**response, "next_page": str(more)}

    def _counts(
        self, call: Call, namespace: str | None = None, repository: str | None = None
    ) -> dict[str, list[AggregateSchema]]:
        counts = self._audit.counts(_selection(call.query, namespace, repository))
        return {
            "aggregated": [
                {"kind": kind, "count": count, "datetime": http_date(day)}
                for day, kind, count in counts
            ]
        }


class RepositoryLogs(_LogBase):
    """`repository/{repository}/logs`."""

    @operation("listRepoLogs", query=LogQuery, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """List the audit log of a repository."""
        name = call.require(ADMIN)
        return self._page(call, name.namespace, name.name)


class RepositoryCounts(_LogBase):
    """`repository/{repository}/aggregatelogs`."""

    @operation(
        "getAggregateRepoLogs",
        query=AggregateQuery,
        response=dict[str, list[AggregateSchema]],
        scope="repo:admin",
    )
    def on_get(self, call: Call) -> Any:
        """Count the entries in the audit log of a repository by day and kind."""
        name = call.require(ADMIN)
        return self._counts(call, name.namespace, name.name)


class _OrganizationLogBase(_LogBase):
    def __init__(self, audit: Audit, namespaces: Namespaces) -> None:
        super().__init__(audit)
        self._namespaces = namespaces


class OrganizationLogs(_OrganizationLogBase):
    """`organization/{orgname}/logs`."""

    @operation("listOrgLogs", query=LogQuery, scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """List the audit log of an organization."""
        self._namespaces.require_admin(call, orgname)
        return self._page(call, orgname)


class OrganizationCounts(_OrganizationLogBase):
    """`organization/{orgname}/aggregatelogs`."""

    @operation(
        "getAggregateOrgLogs",
        query=AggregateQuery,
        response=dict[str, list[AggregateSchema]],
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str) -> Any:
        """Count the entries in the audit log of an organization by day and kind."""
        self._namespaces.require_admin(call, orgname)
        return self._counts(call, orgname)


class _UserLogBase(_LogBase):
    """Logs of the caller's namespace, unless FEATURE_USER_LOG_ACCESS disables them."""

    def __init__(self, audit: Audit, *, allowed: bool) -> None:
        super().__init__(audit)
        self._allowed = allowed

    def _namespace(self, call: Call) -> str:
        return own_namespace(call, allowed=self._allowed)


class UserLogs(_UserLogBase):
    """`user/logs`."""

    @operation("listUserLogs", query=LogQuery, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List the audit log of the caller's namespace."""
        return self._page(call, self._namespace(call))


class UserCounts(_UserLogBase):
    """`user/aggregatelogs`."""

    @operation(
        "getAggregateUserLogs",
        query=AggregateQuery,
        response=dict[str, list[AggregateSchema]],
        scope="user:admin",
    )
    def on_get(self, call: Call) -> Any:
        """Count the entries in the audit log of the caller's namespace by day and kind."""
        return self._counts(call, self._namespace(call))


class SuperuserLogs(_LogBase):
    """`superuser/logs`."""

    @operation("listAllLogs", query=LogQuery, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List the audit log of the registry."""
        return _superuser(call, self._page)


class SuperuserCounts(_LogBase):
    """`superuser/aggregatelogs`."""

    @operation(
        "listAllAggregateLogs",
        query=AggregateQuery,
        response=dict[str, list[AggregateSchema]],
        scope="super:user",
    )
    def on_get(self, call: Call) -> Any:
        """Count the entries in the audit log of the registry by day and kind."""
        return _superuser(call, self._counts)


def own_namespace(call: Call, *, allowed: bool) -> str:
    """Return the caller's namespace, or raise if the caller may not read its log.

    Args:
        call: the request.
        allowed: whether FEATURE_USER_LOG_ACCESS permits it; superusers and auditors always may.
    """
    actor = call.actor
    if actor.robot_owner is not None or not (allowed or actor.superuser or actor.auditor):
        raise call.forbidden()
    return actor.username


def _superuser(call: Call, read: Callable[[Call], Any]) -> Any:
    call.require_superuser()
    return read(call)


def _selection(query: AggregateQuery, namespace: str | None, repository: str | None) -> Selection:
    start, end = query.bounds()
    return Selection(start, end, namespace, repository, query.performer)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, _DATE).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError("must be a day as MM/DD/YYYY") from error


def _serialize(entry: Entry) -> dict[str, Any]:
    result: dict[str, Any] = {
        "kind": entry.kind,
        "metadata": dict(entry.metadata),
        "ip": entry.ip,
        "datetime": http_date(entry.created_at),
        "namespace": entry.namespace,
        # Not in Quay's documents.
        "repository": entry.repository,
    }
    if entry.performer is not None:
        result["performer"] = member(entry.performer, is_robot="+" in entry.performer)
    return result

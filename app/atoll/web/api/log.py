"""`…/logs` and `…/aggregatelogs`: who did what in a repository, a namespace, or anywhere."""

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
# As Quay's, where no time is given.
_DEFAULT_DAYS = timedelta(days=7)
_DATE = "%m/%d/%Y"


class Period(RequestModel):
    """From which day to which, both included, in UTC; the last week without."""

    starttime: str | None = Field(default=None, max_length=10)
    endtime: str | None = Field(default=None, max_length=10)

    @field_validator("starttime", "endtime")
    @classmethod
    def _is_date(cls, value: str | None) -> str | None:
        if value:
            _day(value)
        return value

    def bounds(self) -> tuple[datetime, datetime]:
        """Return the first moment, and the first one after. Raises InvalidRequest."""
        try:
            end = (_day(self.endtime) if self.endtime else datetime.now(UTC)) + _DAY
            start = _day(self.starttime) if self.starttime else end - _DEFAULT_DAYS - _DAY
        except OverflowError as error:
            raise InvalidRequest("there are no such days in a log") from error
        if start >= end:
            raise InvalidRequest("starttime must not be after endtime")
        return start, end


class OfPerformer(Period):
    """What one person did."""

    performer: str | None = Field(default=None, max_length=255)


class LogQuery(OfPerformer):
    """Which entries to list."""

    next_page: int | None = Field(default=None, ge=0, lt=2**63)


class Aggregated(TypedDict):
    """How often something was done on a day."""

    kind: str
    count: int
    datetime: str | None


class _Logs:
    """What all logs share."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def _page(
        self, call: Call, namespace: str | None = None, repository: str | None = None
    ) -> dict[str, Any]:
        query: LogQuery = call.query
        selection = _selection(query, namespace, repository)
        entries, more = self._audit.list(selection, query.next_page, _PAGE)
        answer: dict[str, Any] = {
            "start_time": http_date(selection.start),
            "end_time": http_date(selection.end),
            "logs": [_serialize(entry) for entry in entries],
        }
        return answer if more is None else {**answer, "next_page": str(more)}

    def _counted(
        self, call: Call, namespace: str | None = None, repository: str | None = None
    ) -> dict[str, list[Aggregated]]:
        counts = self._audit.counts(_selection(call.query, namespace, repository))
        return {
            "aggregated": [
                {"kind": kind, "count": count, "datetime": http_date(day)}
                for day, kind, count in counts
            ]
        }


class RepositoryLogs(_Logs):
    """`repository/{repository}/logs`."""

    @operation("listRepoLogs", query=LogQuery, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """List what was done with a repository."""
        name = call.require(ADMIN)
        return self._page(call, name.namespace, name.name)


class RepositoryCounts(_Logs):
    """`repository/{repository}/aggregatelogs`."""

    @operation(
        "getAggregateRepoLogs",
        query=OfPerformer,
        response=dict[str, list[Aggregated]],
        scope="repo:admin",
    )
    def on_get(self, call: Call) -> Any:
        """Count what was done with a repository, by day and kind."""
        name = call.require(ADMIN)
        return self._counted(call, name.namespace, name.name)


class _OfOrganization(_Logs):
    def __init__(self, audit: Audit, namespaces: Namespaces) -> None:
        super().__init__(audit)
        self._namespaces = namespaces


class OrganizationLogs(_OfOrganization):
    """`organization/{orgname}/logs`."""

    @operation("listOrgLogs", query=LogQuery, scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """List what was done in an organization."""
        self._namespaces.administered(call, orgname)
        return self._page(call, orgname)


class OrganizationCounts(_OfOrganization):
    """`organization/{orgname}/aggregatelogs`."""

    @operation(
        "getAggregateOrgLogs",
        query=OfPerformer,
        response=dict[str, list[Aggregated]],
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str) -> Any:
        """Count what was done in an organization, by day and kind."""
        self._namespaces.administered(call, orgname)
        return self._counted(call, orgname)


class _OfUser(_Logs):
    """Logs of one's own namespace, unless FEATURE_USER_LOG_ACCESS takes them away."""

    def __init__(self, audit: Audit, *, allowed: bool) -> None:
        super().__init__(audit)
        self._allowed = allowed

    def _namespace(self, call: Call) -> str:
        return own_namespace(call, allowed=self._allowed)


class UserLogs(_OfUser):
    """`user/logs`."""

    @operation("listUserLogs", query=LogQuery, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List what was done in one's own namespace."""
        return self._page(call, self._namespace(call))


class UserCounts(_OfUser):
    """`user/aggregatelogs`."""

    @operation(
        "getAggregateUserLogs",
        query=OfPerformer,
        response=dict[str, list[Aggregated]],
        scope="user:admin",
    )
    def on_get(self, call: Call) -> Any:
        """Count what was done in one's own namespace, by day and kind."""
        return self._counted(call, self._namespace(call))


class SuperuserLogs(_Logs):
    """`superuser/logs`."""

    @operation("listAllLogs", query=LogQuery, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List what was done anywhere."""
        return _superuser(call, self._page)


class SuperuserCounts(_Logs):
    """`superuser/aggregatelogs`."""

    @operation(
        "listAllAggregateLogs",
        query=OfPerformer,
        response=dict[str, list[Aggregated]],
        scope="super:user",
    )
    def on_get(self, call: Call) -> Any:
        """Count what was done anywhere, by day and kind."""
        return _superuser(call, self._counted)


def own_namespace(call: Call, *, allowed: bool) -> str:
    """Return the caller's own namespace, whose log may be seen if ALLOWED, or raise."""
    actor = call.actor
    if actor.robot_owner is not None or not (allowed or actor.superuser or actor.auditor):
        raise call.forbidden()
    return actor.username


def _superuser(call: Call, answer: Callable[[Call], Any]) -> Any:
    call.require_superuser()
    return answer(call)


def _selection(query: OfPerformer, namespace: str | None, repository: str | None) -> Selection:
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
    }
    if entry.performer is not None:
        result["performer"] = member(entry.performer, is_robot="+" in entry.performer)
    return result

"""`…/logs`: who did what, of a repository, an organization, oneself, or everywhere."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.auth.access import ADMIN
from atoll.auth.audit import Audit, Entry
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Body, Call, operation
from atoll.web.api.views import http_date, member

_PAGE = 20


class LogQuery(Body):
    """Which entries to list."""

    performer: str | None = Field(default=None, max_length=255)
    next_page: int | None = Field(default=None, ge=0, lt=2**63)


class RepositoryLogs:
    """`repository/{repository}/logs`."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @operation("listRepoLogs", query=LogQuery, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """List what was done with a repository."""
        name = call.require(ADMIN)
        return _page(self._audit, call.query, name.namespace, name.name)


class OrganizationLogs:
    """`organization/{orgname}/logs`."""

    def __init__(self, audit: Audit, namespaces: Namespaces) -> None:
        self._audit = audit
        self._namespaces = namespaces

    @operation("listOrgLogs", query=LogQuery, scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """List what was done in an organization."""
        self._namespaces.administered(call, orgname)
        return _page(self._audit, call.query, orgname)


class UserLogs:
    """`user/logs`."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @operation("listUserLogs", query=LogQuery, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List what was done in one's own namespace."""
        if call.actor.robot_owner is not None:
            raise call.refuse()
        return _page(self._audit, call.query, call.actor.username)


class SuperuserLogs:
    """`superuser/logs`."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @operation("listAllLogs", query=LogQuery, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List what was done anywhere."""
        if not call.actor.superuser:
            raise call.refuse()
        return _page(self._audit, call.query, None)


def _page(
    audit: Audit, query: LogQuery, namespace: str | None, repository: str | None = None
) -> dict[str, Any]:
    entries, more = audit.list(namespace, repository, query.performer, query.next_page, _PAGE)
    answer: dict[str, Any] = {"logs": [_view(entry) for entry in entries]}
    return answer if more is None else {**answer, "next_page": str(more)}


def _view(entry: Entry) -> dict[str, Any]:
    view: dict[str, Any] = {
        "kind": entry.kind,
        "metadata": dict(entry.metadata),
        "ip": entry.ip,
        "datetime": http_date(entry.created_at),
        "namespace": entry.namespace,
    }
    if entry.performer is not None:
        view["performer"] = member(entry.performer, is_robot="+" in entry.performer)
    return view

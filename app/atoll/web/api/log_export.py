"""`…/exportlogs`: a part of the log as a file, written in the background."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.audit.export_requests import LogExports
from atoll.audit.log import Selection
from atoll.auth.access import ADMIN
from atoll.notifications.receivers import Receivers
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.log import Period, own_namespace
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation


class ExportBody(RequestModel):
    """Whom to tell where the file is. E-mail cannot be sent."""

    callback_url: str | None = Field(default=None, max_length=4096)
    callback_email: str | None = Field(default=None, max_length=320)


class Exporting:
    """What all resources of exports share."""

    def __init__(self, exports: LogExports, receivers: Receivers) -> None:
        self._exports = exports
        self._receivers = receivers

    def ask(self, call: Call, namespace: str, repository: str | None = None) -> dict[str, str]:
        """Let a file be written, and return its id."""
        body: ExportBody = call.body
        if body.callback_email:
            raise InvalidRequest("callback_email: e-mail is not supported; give callback_url")
        if not body.callback_url:
            raise InvalidRequest("callback_url: is missing; it is told where the file is")
        self._receivers.check(body.callback_url)
        start, end = call.query.bounds()
        uuid = self._exports.request(
            Selection(start, end, namespace, repository), body.callback_url
        )
        call.log("export_logs_success", namespace, export_id=str(uuid), repo=repository)
        return {"export_id": str(uuid)}


class ExportRepositoryLogs:
    """`repository/{repository}/exportlogs`."""

    def __init__(self, exporting: Exporting) -> None:
        self._exporting = exporting

    @operation(
        "exportRepoLogs", query=Period, body=ExportBody, response=dict[str, str], scope="repo:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Write what was done with a repository to a file."""
        name = call.require(ADMIN)
        return self._exporting.ask(call, name.namespace, name.name)


class ExportOrganizationLogs:
    """`organization/{orgname}/exportlogs`."""

    def __init__(self, exporting: Exporting, namespaces: Namespaces) -> None:
        self._exporting = exporting
        self._namespaces = namespaces

    @operation(
        "exportOrgLogs", query=Period, body=ExportBody, response=dict[str, str], scope="org:admin"
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Write what was done in an organization to a file."""
        self._namespaces.administered(call, orgname)
        return self._exporting.ask(call, orgname)


class ExportUserLogs:
    """`user/exportlogs`."""

    def __init__(self, exporting: Exporting, *, allowed: bool) -> None:
        self._exporting = exporting
        self._allowed = allowed

    @operation(
        "exportUserLogs", query=Period, body=ExportBody, response=dict[str, str], scope="user:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Write what was done in one's own namespace to a file."""
        return self._exporting.ask(call, own_namespace(call, allowed=self._allowed))


class FileQuery(RequestModel):
    """What proves that somebody was told of the file."""

    token: str = Field(min_length=1, max_length=4096)


class ExportedLogs:
    """`/exportedlogs`: a file, where clients cannot be sent to the store that has it."""

    def __init__(self, exports: LogExports) -> None:
        self._exports = exports

    @operation("getExportedLogs", query=FileQuery, anonymous=True, before_login=True)
    def on_get(self, call: Call) -> Any:
        """Send a file with a part of the log."""
        size, pieces = self._exports.open(call.query.token)
        call.resp.content_type = "application/json"
        call.resp.set_stream(pieces, size)

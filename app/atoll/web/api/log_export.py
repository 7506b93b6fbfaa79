"""`…/exportlogs`: export a period of the audit log to a file, in the background."""

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
    """The recipient of the file's URL. E-mail is not supported."""

    callback_url: str | None = Field(default=None, max_length=4096)
    callback_email: str | None = Field(default=None, max_length=320)


class ExportCreator:
    """Create exports for the resources below."""

    def __init__(self, exports: LogExports, receivers: Receivers) -> None:
        self._exports = exports
        self._receivers = receivers

    def create(self, call: Call, namespace: str, repository: str | None = None) -> dict[str, str]:
        """Queue an export, and return its id."""
        body: ExportBody = call.body
        if body.callback_email:
            raise InvalidRequest("callback_email: e-mail is not supported; give callback_url")
        if not body.callback_url:
            raise InvalidRequest("callback_url: required; the URL of the file is sent to it")
        self._receivers.check(body.callback_url)
        start, end = call.query.bounds()
        uuid = self._exports.request(
            Selection(start, end, namespace, repository), body.callback_url
        )
        call.log("export_logs_success", namespace, export_id=str(uuid), repo=repository)
        return {"export_id": str(uuid)}


class ExportRepositoryLogs:
    """`repository/{repository}/exportlogs`."""

    def __init__(self, creator: ExportCreator) -> None:
        self._creator = creator

    @operation(
        "exportRepoLogs", query=Period, body=ExportBody, response=dict[str, str], scope="repo:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Export the audit log of a repository."""
        name = call.require(ADMIN)
        return self._creator.create(call, name.namespace, name.name)


class ExportOrganizationLogs:
    """`organization/{orgname}/exportlogs`."""

    def __init__(self, creator: ExportCreator, namespaces: Namespaces) -> None:
        self._creator = creator
        self._namespaces = namespaces

    @operation(
        "exportOrgLogs", query=Period, body=ExportBody, response=dict[str, str], scope="org:admin"
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Export the audit log of an organization."""
        self._namespaces.require_admin(call, orgname)
        return self._creator.create(call, orgname)


class ExportUserLogs:
    """`user/exportlogs`."""

    def __init__(self, creator: ExportCreator, *, allowed: bool) -> None:
        self._creator = creator
        self._allowed = allowed

    @operation(
        "exportUserLogs", query=Period, body=ExportBody, response=dict[str, str], scope="user:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Export the audit log of the caller's namespace."""
        return self._creator.create(call, own_namespace(call, allowed=self._allowed))


class FileQuery(RequestModel):
    """The token in the URL of the file."""

    token: str = Field(min_length=1, max_length=4096)


class ExportedLogs:
    """`/exportedlogs`: an exported file from a store without URLs for clients."""

    def __init__(self, exports: LogExports) -> None:
        self._exports = exports

    @operation("getExportedLogs", query=FileQuery, anonymous=True, before_login=True)
    def on_get(self, call: Call) -> Any:
        """Download an exported audit log."""
        size, pieces = self._exports.open(call.query.token)
        call.resp.content_type = "application/json"
        call.resp.set_stream(pieces, size)

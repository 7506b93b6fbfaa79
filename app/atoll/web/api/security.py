"""`repository/{repository}/manifest/{digest}/security`, with FEATURE_SECURITY_SCANNER."""

from __future__ import annotations

import json
from typing import Any, NotRequired

from typing_extensions import TypedDict

from atoll.auth.access import READ
from atoll.names import Digest
from atoll.registry.manifest import Manifest
from atoll.registry.manifests import Manifests
from atoll.scanning.reports import SecurityReports
from atoll.scanning.scan_states import UNSUPPORTED
from atoll.scanning.security_document import SecurityDocument, security_document
from atoll.web.api.operation import Call, RequestModel, operation


class SecurityQuery(RequestModel):
    """Whether the packages have lists of their vulnerabilities, instead of counts by severity."""

    vulnerabilities: bool = True


class SecuritySchema(TypedDict):
    """The status of the scan of an image and, if it is `scanned`, the result.

    `status` is `queued`, `scanned`, `failed`, `unsupported` or `manifest_layer_too_large`. `stale`
    is present and true if no scanner responds and `data` is from the last report that was read. An
    index is `unsupported`; `children` has the status of each image that it lists, by digest.
    """

    status: str
    data: SecurityDocument | None
    stale: NotRequired[bool]
    children: NotRequired[dict[str, str]]


class ManifestSecurity:
    """`repository/{repository}/manifest/{digest}/security`."""

    def __init__(self, manifests: Manifests, reports: SecurityReports) -> None:
        self._manifests = manifests
        self._reports = reports

    @operation(
        "getRepoManifestSecurity",
        query=SecurityQuery,
        response=SecuritySchema,
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the status and the result of the security scan of a manifest."""
        name, parsed = call.require(READ), str(Digest.parse(digest))
        manifest = self._manifests.get(name, parsed)
        if children := _children(manifest):
            statuses = self._reports.statuses(children)
            found = {child: status.status for child, status in statuses.items()}
            return {"status": UNSUPPORTED, "data": None, "children": found}
        report = self._reports.get(parsed)
        if report.report is None:
            return {"status": report.status, "data": None}
        query: SecurityQuery = call.query
        data = security_document(
            report.report, digest=parsed, with_vulnerabilities=query.vulnerabilities
        )
        response: dict[str, Any] = {"status": report.status, "data": data}
        return {**response, "stale": True} if report.is_stale else response


def _children(manifest: Manifest) -> list[str]:
    """Return the digests of the images that an index lists; none of an image."""
    listed = json.loads(manifest.content).get("manifests")
    entries = listed if isinstance(listed, list) else []
    return [
        entry["digest"]
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("digest"), str)
    ]

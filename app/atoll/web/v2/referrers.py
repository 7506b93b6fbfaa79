"""`/v2/<name>/referrers/<digest>`: the referrers of a manifest."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import falcon

from atoll.auth.access import PULL
from atoll.names import Digest, RepositoryName
from atoll.registry.referrers import Referrers
from atoll.web.bearer_auth import BearerAuth

_INDEX = "application/vnd.oci.image.index.v1+json"
# PostgreSQL's largest bigint.
_ID_MAXIMUM = 2**63 - 1


class ReferrerList:
    """The referrers of a manifest (end-12)."""

    def __init__(self, referrers: Referrers, auth: BearerAuth) -> None:
        self._referrers = referrers
        self._auth = auth

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Return an index, which is empty without referrers; `Link` is the next page."""
        repository = self._auth.require(req, RepositoryName.parse(name), PULL).repository
        artifact_type = req.get_param("artifactType")
        after = req.get_param_as_int("after", min_value=0, max_value=_ID_MAXIMUM, default=0)
        found, more = self._referrers.list(repository, Digest.parse(digest), artifact_type, after)
        query: dict[str, object] = {"after": more}
        if artifact_type is not None:
            resp.set_header("OCI-Filters-Applied", "artifactType")
            query["artifactType"] = artifact_type
        if more is not None:
            path = f"/v2/{name}/referrers/{digest}?{urlencode(query)}"
            resp.set_header("Link", f'<{path}>; rel="next"')
        resp.content_type = _INDEX
        resp.text = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [referrer.descriptor() for referrer in found],
            }
        )

    on_head = on_get

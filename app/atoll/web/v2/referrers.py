"""`/v2/<name>/referrers/<digest>`."""

from __future__ import annotations

import json

import falcon

from atoll.auth.access import PULL
from atoll.names import Digest, RepositoryName
from atoll.registry.referrers import Referrers
from atoll.web.guard import Guard

_INDEX = "application/vnd.oci.image.index.v1+json"


class ReferrerList:
    """Who refers to a manifest (end-12)."""

    def __init__(self, referrers: Referrers, guard: Guard) -> None:
        self._referrers = referrers
        self._guard = guard

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Answer with an index, empty where nobody refers to the digest."""
        repository = RepositoryName.parse(name)
        self._guard.require(req, repository, PULL)
        artifact_type = req.get_param("artifactType")
        found = self._referrers.list(repository, Digest.parse(digest), artifact_type)
        if artifact_type is not None:
            resp.set_header("OCI-Filters-Applied", "artifactType")
        resp.content_type = _INDEX
        resp.text = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [referrer.descriptor() for referrer in found],
            }
        )

    on_head = on_get

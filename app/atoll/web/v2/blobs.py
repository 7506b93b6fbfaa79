"""`/v2/<name>/blobs/<digest>`: the bytes come from the nearest living store, not from here."""

from __future__ import annotations

import falcon

from atoll.auth.access import PULL, PUSH
from atoll.names import Digest, RepositoryName
from atoll.registry.blobs import Blobs
from atoll.web.guard import Guard

# As long as Quay's. A client begins within seconds; what it began may take longer.
_URL_SECONDS = 600


class BlobResource:
    """One blob (end-2)."""

    def __init__(self, blobs: Blobs, guard: Guard) -> None:
        self._blobs = blobs
        self._guard = guard

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Send the client to a store. It repeats its Range there."""
        repository = RepositoryName.parse(name)
        self._guard.require(req, repository, PULL)
        blob = self._blobs.find(repository, Digest.parse(digest))
        resp.set_header("Location", self._blobs.url(blob, _URL_SECONDS))
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")
        resp.set_header("Cache-Control", "no-store")
        resp.status = falcon.HTTP_TEMPORARY_REDIRECT

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Tell the blob's size."""
        repository = RepositoryName.parse(name)
        self._guard.require(req, repository, PULL)
        blob = self._blobs.find(repository, Digest.parse(digest))
        resp.content_length = blob.size
        resp.content_type = "application/octet-stream"
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Take the blob out of the repository (end-10)."""
        repository = RepositoryName.parse(name)
        self._guard.require(req, repository, PUSH)
        self._blobs.delete(repository, Digest.parse(digest))
        resp.status = falcon.HTTP_ACCEPTED

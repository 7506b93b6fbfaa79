"""`/v2/<name>/blobs/<digest>`: the bytes come from the nearest living store.

They pass through here where that store has no URLs, where the bundle says so
(FEATURE_PROXY_STORAGE), and where the client would send its token along, which a store refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

import falcon

from atoll.auth.access import DELETE, PULL
from atoll.names import Digest, RepositoryName
from atoll.registry.blobs import Blob, Blobs
from atoll.registry.errors import BlobUnknown
from atoll.storage.interface import LINK_SECONDS
from atoll.web.authority import Authority
from atoll.web.guard import Guard
from atoll.web.v2.byte_range import requested_range
from atoll.web.v2.conditions import client_has_already


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _wanted(req: falcon.Request, blob: Blob) -> tuple[int, int] | None:
    """Return the range that is asked for; none if it was meant for other bytes (If-Range)."""
    if req.get_header("If-Range") not in {None, f'"{blob.digest}"'}:
        return None
    return requested_range(req.get_header("Range"), blob.size)


class BlobResource:
    """One blob (end-2)."""

    def __init__(self, blobs: Blobs, guard: Guard, authority: Authority, *, proxied: bool) -> None:
        self._blobs = blobs
        self._guard = guard
        self._authority = authority
        self._proxied = proxied

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Send the client to a store. It repeats its Range there."""
        repository = self._guard.require(req, RepositoryName.parse(name), PULL).repository
        blob = self._blobs.find(repository, Digest.parse(digest))
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")
        if client_has_already(req, resp, blob.digest):
            return
        # Stores differ in what they say of a range that cannot be, so it is said here.
        wanted = _wanted(req, blob)
        url = None if self._proxied else self._blobs.url(blob, LINK_SECONDS)
        if url is None or self._authority.covers(req, url):
            self._send(resp, blob, wanted)
            return
        resp.set_header("Location", url)
        resp.set_header("Cache-Control", "no-store")
        resp.status = falcon.HTTP_TEMPORARY_REDIRECT

    def _send(self, resp: falcon.Response, blob: Blob, wanted: tuple[int, int] | None) -> None:
        """Send the bytes, or the range that is WANTED."""
        start, end = wanted or (0, blob.size)
        # What is wrong with the store shows with the first piece, while an error can still be told.
        pieces = self._blobs.read(blob, start, end)
        first = next(pieces, b"")
        if wanted is not None:
            resp.status = falcon.HTTP_PARTIAL_CONTENT
            resp.set_header("Content-Range", f"bytes {start}-{end - 1}/{blob.size}")
        resp.content_type = "application/octet-stream"
        resp.set_stream(_joined(first, pieces), end - start)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Return the blob's size. One without a good copy is missing, so that clients push it."""
        repository = self._guard.require_head(req, RepositoryName.parse(name)).repository
        blob = self._blobs.find(repository, Digest.parse(digest))
        if not blob.placements:
            raise BlobUnknown(f"{digest} has no good copy; push it again")
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")
        if not client_has_already(req, resp, blob.digest):
            resp.content_length = blob.size
            resp.content_type = "application/octet-stream"

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Take the blob out of the repository (end-10)."""
        repository = self._guard.require(req, RepositoryName.parse(name), DELETE).repository
        self._blobs.delete(repository, Digest.parse(digest))
        resp.status = falcon.HTTP_ACCEPTED

"""`/v2/<name>/blobs/<digest>`: a redirect to the nearest healthy store, or the bytes.

The registry sends the bytes itself if the store has no URLs, if FEATURE_PROXY_STORAGE is set, if
the client would forward its token, which stores reject, or if the client requests several ranges,
of which stores return only the first.
"""

from __future__ import annotations

from functools import partial

import falcon

from atoll.auth.access import DELETE, PULL
from atoll.names import Digest, RepositoryName
from atoll.registry.blobs import Blob, Blobs
from atoll.registry.errors import BlobUnknown
from atoll.storage.base import LINK_SECONDS
from atoll.web.bearer_auth import BearerAuth
from atoll.web.client_address import client_address
from atoll.web.external_url import ExternalUrls
from atoll.web.v2.blob_stream import BlobStream
from atoll.web.v2.byte_range import WHOLE, RequestedRanges, requested_ranges
from atoll.web.v2.conditions import is_not_modified
from atoll.web.v2.download_slots import DownloadSlots, Slot
from atoll.web.v2.multipart_ranges import MultipartRanges


def _requested(req: falcon.Request, blob: Blob) -> RequestedRanges:
    """Return the requested ranges; the complete blob if they are for other content (If-Range)."""
    if req.get_header("If-Range") not in {None, f'"{blob.digest}"'}:
        return WHOLE
    return requested_ranges(req.get_header("Range"), blob.size)


class BlobResource:
    """One blob (end-2)."""

    def __init__(
        self, blobs: Blobs, auth: BearerAuth, external_urls: ExternalUrls, *, proxied: bool
    ) -> None:
        self._blobs = blobs
        self._auth = auth
        self._external_urls = external_urls
        self._proxied = proxied
        self._slots = DownloadSlots()

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Redirect to a store, to which the client resends its Range, or send the bytes."""
        repository = self._auth.require(req, RepositoryName.parse(name), PULL).repository
        blob = self._blobs.find(repository, Digest.parse(digest))
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")
        if is_not_modified(req, resp, blob.digest):
            return
        # Stores handle unsatisfiable ranges differently, so the registry rejects them itself.
        requested = _requested(req, blob)
        if requested.several:
            self._send_in_slot(req, resp, blob, requested)
            return
        url = None if self._proxied else self._blobs.url(blob, LINK_SECONDS)
        if url is None or self._external_urls.is_below_registry(url):
            self._send(resp, blob, requested)
            return
        if self._external_urls.is_below_client_host(req, url):
            # The client chose this host name, possibly to occupy the threads that redirect others.
            self._send_in_slot(req, resp, blob, requested)
            return
        resp.set_header("Location", url)
        resp.set_header("Cache-Control", "no-store")
        resp.status = falcon.HTTP_TEMPORARY_REDIRECT

    def _send_in_slot(
        self, req: falcon.Request, resp: falcon.Response, blob: Blob, requested: RequestedRanges
    ) -> None:
        """Send the blob or ranges of it, while the number of such responses is limited."""
        slot = self._slots.take(client_address(req))
        try:
            self._send(resp, blob, requested, slot)
        except BaseException:
            slot.release()
            raise

    def _send(
        self,
        resp: falcon.Response,
        blob: Blob,
        requested: RequestedRanges,
        slot: Slot | None = None,
    ) -> None:
        """Send the blob or ranges of it, and release the slot at the end of the response.

        The first piece is read before the headers are set, so that the status can report a failure
        of the store.
        """
        ranges = requested.ranges
        if len(ranges) > 1:
            multipart = MultipartRanges(ranges, blob.size)
            pieces = multipart.body(partial(self._blobs.read, blob))
            kind, length = "ranges", multipart.content_length
            content_type = multipart.content_type
        else:
            start, end = ranges[0] if ranges else (0, blob.size)
            pieces = self._blobs.read(blob, start, end)
            kind, length = "range" if ranges else "blob", end - start
            content_type = "application/octet-stream"
        stream = BlobStream(kind, next(pieces, b""), pieces, slot)
        if ranges:
            resp.status = falcon.HTTP_PARTIAL_CONTENT
        if len(ranges) == 1:
            resp.set_header("Content-Range", f"bytes {start}-{end - 1}/{blob.size}")
        resp.content_type = content_type
        resp.set_stream(stream, length)

    def on_head(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Return the blob's size. A blob without a good copy is 404, so that clients push it."""
        repository = self._auth.require_head(req, RepositoryName.parse(name)).repository
        blob = self._blobs.find(repository, Digest.parse(digest))
        if not blob.placements:
            raise BlobUnknown(f"{digest} has no good copy; push it again")
        resp.set_header("Docker-Content-Digest", str(blob.digest))
        resp.set_header("Accept-Ranges", "bytes")
        if not is_not_modified(req, resp, blob.digest):
            resp.content_length = blob.size
            resp.content_type = "application/octet-stream"

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, digest: str) -> None:
        """Remove the blob from the repository (end-10)."""
        authorized = self._auth.require(req, RepositoryName.parse(name), DELETE)
        self._blobs.delete(
            authorized.repository, Digest.parse(digest), authorized.identity.username
        )
        resp.status = falcon.HTTP_ACCEPTED

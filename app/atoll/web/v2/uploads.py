"""`/v2/<name>/blobs/uploads/[<uuid>]`: push a blob, at once or in chunks.

The `Location` of each response contains the signed progress of the upload, so that the next request
needs no look-up. For a client that drops it, the upload is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO, cast
from uuid import UUID

import falcon
import jwt

from atoll.auth.tokens import Identity
from atoll.names import Digest, RepositoryName
from atoll.registry.blob_mounts import BlobMounts
from atoll.registry.errors import RangeOutOfOrder, RepositoryUnknown, SizeInvalid, UploadUnknown
from atoll.registry.repositories import Repositories
from atoll.registry.upload_session import Body, Chunk, Upload
from atoll.registry.uploads import Uploads
from atoll.storage.base import blob_key
from atoll.web.bearer_auth import Authorized, BearerAuth
from atoll.web.errors import BodyTooLarge
from atoll.web.external_url import ExternalUrls
from atoll.web.spool import HASHES
from atoll.web.v2.content_range import parse_content_range

_ALGORITHM = "HS256"


class UploadResponses:
    """Responses of uploads, and the signed state that connects the requests of one upload."""

    def __init__(self, external_urls: ExternalUrls, key: bytes) -> None:
        self._external_urls = external_urls
        self._key = key

    def accepted(
        self, req: falcon.Request, resp: falcon.Response, name: str, upload: Upload
    ) -> None:
        """Respond with the location of the next chunk and the received range.

        `Range` cannot express an empty upload. As in Docker's registry, it is `0-0` then
        (distribution-spec issue 578).

        Args:
            req: the request.
            resp: the response.
            name: the repository's name as in the request.
            upload: the upload.
        """
        path = f"/v2/{name}/blobs/uploads/{upload.uuid}?_state={self._sign(upload)}"
        resp.set_header("Location", self._external_urls.url(req, path))
        resp.set_header("Range", f"0-{max(upload.offset - 1, 0)}")
        resp.set_header("Docker-Upload-UUID", str(upload.uuid))
        resp.set_header("Cache-Control", "no-store")
        resp.status = falcon.HTTP_ACCEPTED

    def created(
        self, req: falcon.Request, resp: falcon.Response, name: str, digest: Digest
    ) -> None:
        """Respond with the location of the created blob.

        Args:
            req: the request.
            resp: the response.
            name: the repository's name as in the request.
            digest: the blob's digest.
        """
        resp.set_header("Location", self._external_urls.url(req, f"/v2/{name}/blobs/{digest}"))
        resp.set_header("Docker-Content-Digest", str(digest))
        resp.status = falcon.HTTP_CREATED

    def upload(self, req: falcon.Request, name: RepositoryName, uuid: UUID) -> Upload | None:
        """Return the upload from the signed state in the query; None if there is no valid state."""
        state = req.get_param("_state")
        if state is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(state, self._key, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError:
            return None
        if (claims.get("n"), claims.get("u")) != (str(name), str(uuid)):
            return None
        offset = int(claims["o"])
        chunk = None
        if "c" in claims:
            digest, size, location = claims["c"]
            chunk = Chunk(blob_key(Digest.parse(digest)), digest, size, location)
        return Upload(name, uuid, offset, tuple(claims.get("x", ())), only_chunk=chunk)

    def _sign(self, upload: Upload) -> str:
        claims: dict[str, Any] = {
            "n": str(upload.name),
            "u": str(upload.uuid),
            "o": upload.offset,
        }
        if upload.excluded:
            claims["x"] = upload.excluded
        chunk = upload.only_chunk
        if chunk is not None:
            claims["c"] = [chunk.digest, chunk.size, chunk.location]
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)


class UploadCollection:
    """Start uploads (end-4, end-11)."""

    def __init__(
        self,
        uploads: Uploads,
        mounts: BlobMounts,
        repositories: Repositories,
        auth: BearerAuth,
        responses: UploadResponses,
        *,
        maximum_size: int,
    ) -> None:
        self._uploads = uploads
        self._mounts = mounts
        self._repositories = repositories
        self._auth = auth
        self._responses = responses
        self._maximum_size = maximum_size

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Mount a blob, store a complete one, or start an upload and return its location."""
        repository = RepositoryName.parse(name)
        authorized = self._auth.require_push(req, repository)
        with self._auth.challenge_if_replaced(req, repository):
            self._post(req, resp, name, authorized)

    def _post(
        self, req: falcon.Request, resp: falcon.Response, name: str, authorized: Authorized
    ) -> None:
        if mount := req.get_param("mount"):
            mounted = Digest.parse(mount)
            if self._mount(authorized, mounted, req.get_param("from")):
                self._responses.created(req, resp, name, mounted)
                return
        parameter = req.get_param("digest")
        digest = Digest.parse(parameter) if parameter is not None else None
        upload = self._uploads.start(authorized.repository, authorized.identity.username)
        if digest is None:
            self._responses.accepted(req, resp, name, upload)
            return
        self._uploads.finish(upload, digest, _body(req, 0, self._maximum_size))
        self._responses.created(req, resp, name, digest)

    def _mount(self, authorized: Authorized, digest: Digest, source: str | None) -> bool:
        """Mount a blob in the repository, which is created if it does not exist.

        Raises Denied.
        """
        identity, repository = authorized.identity, authorized.repository
        try:
            return self._mount_from(repository, digest, source, identity)
        except RepositoryUnknown:
            repository = self._repositories.create_for_push(identity.username, repository)
            return self._mount_from(repository, digest, source, identity)

    def _mount_from(
        self, name: RepositoryName, digest: Digest, source: str | None, identity: Identity
    ) -> bool:
        """Mount a blob from a repository that the token may pull from.

        Without a source, any repository that the user may pull from will do.
        """
        if source is not None:
            if not RepositoryName.fits(source):
                return False
            bound = self._auth.source(identity, RepositoryName.parse(source))
            return bound is not None and self._mounts.mount(name, bound, digest)
        username = None if identity.public_only else identity.username
        return self._mounts.mount_from_any(name, digest, username, identity.user_id)


class UploadResource:
    """One upload (end-5, end-6, end-13, end-14)."""

    def __init__(
        self, uploads: Uploads, auth: BearerAuth, responses: UploadResponses, maximum_size: int
    ) -> None:
        self._uploads = uploads
        self._auth = auth
        self._responses = responses
        self._maximum_size = maximum_size

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Return the progress of the upload."""
        upload = self._uploads.find(self._repository(req, name), _uuid(uuid))
        self._responses.accepted(req, resp, name, upload)
        resp.status = falcon.HTTP_NO_CONTENT

    def on_patch(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Append a chunk."""
        upload = self._upload(req, self._repository(req, name), _uuid(uuid))
        body = _body(req, upload.offset, self._maximum_size)
        with self._in_order(req, resp, name, upload):
            _check_content_range(req, upload, body)
            upload = self._uploads.append(upload, body)
        self._responses.accepted(req, resp, name, upload)

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Append the last chunk, if there is one, and store the upload as a blob."""
        authorized = self._auth.require_push(req, RepositoryName.parse(name))
        digest = Digest.parse(req.get_param("digest") or "")
        upload = self._upload(req, authorized.repository, _uuid(uuid))
        upload = replace(upload, username=authorized.identity.username)
        body = _body(req, upload.offset, self._maximum_size)
        with self._in_order(req, resp, name, upload):
            _check_content_range(req, upload, body)
            self._uploads.finish(upload, digest, body)
        self._responses.created(req, resp, name, digest)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Cancel the upload."""
        self._uploads.cancel(self._repository(req, name), _uuid(uuid))
        resp.status = falcon.HTTP_NO_CONTENT

    @contextmanager
    def _in_order(
        self, req: falcon.Request, resp: falcon.Response, name: str, upload: Upload
    ) -> Iterator[None]:
        """Add the upload's progress to the response for a chunk that is out of order."""
        try:
            yield
        except RangeOutOfOrder as error:
            progress = replace(upload, offset=error.received, only_chunk=None)
            self._responses.accepted(req, resp, name, progress)
            raise

    def _repository(self, req: falcon.Request, name: str) -> RepositoryName:
        return self._auth.require_push(req, RepositoryName.parse(name)).repository

    def _upload(self, req: falcon.Request, name: RepositoryName, uuid: UUID) -> Upload:
        return self._responses.upload(req, name, uuid) or self._uploads.find(name, uuid)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UploadUnknown(f"'{text[:100]}' is not the id of an upload") from error


def _body(req: falcon.Request, offset: int, maximum_size: int) -> Body:
    """Return the request's body, which waitress has received completely, in a file."""
    size = req.content_length or 0
    if offset + size > maximum_size:
        raise BodyTooLarge(f"a layer may have at most {maximum_size} bytes")
    return Body(cast(BinaryIO, req.env["wsgi.input"]), size, req.env.get(HASHES))


def _check_content_range(req: falcon.Request, upload: Upload, body: Body) -> None:
    """Raise if Content-Range does not match the upload's progress or the body's length."""
    header = req.get_header("Content-Range")
    if header is None:
        return
    positions = parse_content_range(header)
    if positions is None or positions[0] != upload.offset:
        raise RangeOutOfOrder(upload.offset)
    if positions[1] - positions[0] + 1 != body.size:
        raise SizeInvalid(f"Content-Range is {header[:100]}, but the body has {body.size} bytes")

"""`/v2/<name>/blobs/uploads/[<uuid>]`: push a blob, at once or in chunks.

The `Location` of each answer carries how far the upload is, signed, so that the next request needs
no look-up; a client that drops it is served all the same.
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
from atoll.registry.blobs import Blobs
from atoll.registry.errors import RangeOutOfOrder, RepositoryUnknown, SizeInvalid, UploadUnknown
from atoll.registry.repositories import Repositories
from atoll.registry.upload_session import Body, Upload
from atoll.registry.uploads import Uploads
from atoll.web.bearer_auth import Authorized, BearerAuth
from atoll.web.errors import BodyTooLarge
from atoll.web.external_url import ExternalUrls
from atoll.web.v2.content_range import parse_content_range

_ALGORITHM = "HS256"


class UploadAnswers:
    """The answers that uploads share: where to go on, how far it is, what was made."""

    def __init__(self, external_urls: ExternalUrls, key: bytes) -> None:
        self._external_urls = external_urls
        self._key = key

    def accepted(
        self, req: falcon.Request, resp: falcon.Response, name: str, upload: Upload
    ) -> None:
        """Tell the client where to send the next chunk. NAME is the repository's as it wrote it.

        An empty upload has no right `Range`. Docker's own registry says `0-0` then, and so do we
        (distribution-spec issue 578).
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
        """Tell the client that the blob is here, in the repository that it calls NAME."""
        resp.set_header("Location", self._external_urls.url(req, f"/v2/{name}/blobs/{digest}"))
        resp.set_header("Docker-Content-Digest", str(digest))
        resp.status = falcon.HTTP_CREATED

    def upload(self, req: falcon.Request, name: RepositoryName, uuid: UUID) -> Upload | None:
        """Return the upload as its signed state tells it; None without a good one."""
        state = req.get_param("_state")
        if state is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(state, self._key, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError:
            return None
        if (claims.get("n"), claims.get("u")) != (str(name), str(uuid)):
            return None
        return Upload(name, uuid, int(claims["o"]), tuple(claims.get("x", ())))

    def _sign(self, upload: Upload) -> str:
        claims: dict[str, Any] = {
            "n": str(upload.name),
            "u": str(upload.uuid),
            "o": upload.offset,
        }
        if upload.excluded:
            claims["x"] = upload.excluded
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)


class UploadCollection:
    """Begins uploads (end-4, end-11)."""

    def __init__(
        self,
        uploads: Uploads,
        blobs: Blobs,
        repositories: Repositories,
        auth: BearerAuth,
        answers: UploadAnswers,
        *,
        maximum_size: int,
    ) -> None:
        self._uploads = uploads
        self._blobs = blobs
        self._repositories = repositories
        self._auth = auth
        self._answers = answers
        self._maximum_size = maximum_size

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Mount a blob, accept a complete one, or begin an upload and return its location."""
        repository = RepositoryName.parse(name)
        authorized = self._auth.require_push(req, repository)
        with self._auth.renewing(req, repository):
            self._post(req, resp, name, authorized)

    def _post(
        self, req: falcon.Request, resp: falcon.Response, name: str, authorized: Authorized
    ) -> None:
        if mount := req.get_param("mount"):
            digest = Digest.parse(mount)
            if self._mount(authorized, digest, req.get_param("from")):
                self._answers.created(req, resp, name, digest)
                return
        whole = req.get_param("digest")
        wanted = Digest.parse(whole) if whole is not None else None
        upload = self._uploads.start(authorized.repository, authorized.identity.username)
        if wanted is None:
            self._answers.accepted(req, resp, name, upload)
            return
        self._uploads.finish(upload, wanted, _body(req, 0, self._maximum_size))
        self._answers.created(req, resp, name, wanted)

    def _mount(self, authorized: Authorized, digest: Digest, source: str | None) -> bool:
        """Lend the blob to the repository, which is created if it does not exist.

        Raises Denied.
        """
        identity, repository = authorized.identity, authorized.repository
        try:
            return self._lend(repository, digest, source, identity)
        except RepositoryUnknown:
            repository = self._repositories.create_for_push(identity.username, repository)
            return self._lend(repository, digest, source, identity)

    def _lend(
        self, name: RepositoryName, digest: Digest, source: str | None, identity: Identity
    ) -> bool:
        """Lend the blob from SOURCE if the token allows to pull from it.

        Without a source: from any repository that the user may pull from.
        """
        if source is not None:
            if not RepositoryName.fits(source):
                return False
            bound = self._auth.source(identity, RepositoryName.parse(source))
            return bound is not None and self._blobs.mount(name, bound, digest)
        username = None if identity.public_only else identity.username
        return self._blobs.mount_from_any(name, digest, username, identity.user_id)


class UploadResource:
    """One upload (end-5, end-6, end-13, end-14)."""

    def __init__(
        self, uploads: Uploads, auth: BearerAuth, answers: UploadAnswers, maximum_size: int
    ) -> None:
        self._uploads = uploads
        self._auth = auth
        self._answers = answers
        self._maximum_size = maximum_size

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Tell how far the upload is."""
        upload = self._uploads.find(self._repository(req, name), _uuid(uuid))
        self._answers.accepted(req, resp, name, upload)
        resp.status = falcon.HTTP_NO_CONTENT

    def on_patch(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Take a chunk."""
        upload = self._upload(req, self._repository(req, name), _uuid(uuid))
        body = _body(req, upload.offset, self._maximum_size)
        with self._in_order(req, resp, name, upload):
            _check_content_range(req, upload, body)
            upload = self._uploads.append(upload, body)
        self._answers.accepted(req, resp, name, upload)

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Take the last chunk, if there is one, and make it all a blob."""
        repository = self._repository(req, name)
        digest = Digest.parse(req.get_param("digest") or "")
        upload = self._upload(req, repository, _uuid(uuid))
        body = _body(req, upload.offset, self._maximum_size)
        with self._in_order(req, resp, name, upload):
            _check_content_range(req, upload, body)
            self._uploads.finish(upload, digest, body)
        self._answers.created(req, resp, name, digest)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str, uuid: str) -> None:
        """Throw the upload away."""
        self._uploads.cancel(self._repository(req, name), _uuid(uuid))
        resp.status = falcon.HTTP_NO_CONTENT

    @contextmanager
    def _in_order(
        self, req: falcon.Request, resp: falcon.Response, name: str, upload: Upload
    ) -> Iterator[None]:
        """Tell a client whose chunk belongs elsewhere, with the error, where to go on."""
        try:
            yield
        except RangeOutOfOrder as error:
            self._answers.accepted(req, resp, name, replace(upload, offset=error.received))
            raise

    def _repository(self, req: falcon.Request, name: str) -> RepositoryName:
        return self._auth.require_push(req, RepositoryName.parse(name)).repository

    def _upload(self, req: falcon.Request, name: RepositoryName, uuid: UUID) -> Upload:
        return self._answers.upload(req, name, uuid) or self._uploads.find(name, uuid)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise UploadUnknown(f"'{text[:100]}' is not the id of an upload") from error


def _body(req: falcon.Request, offset: int, maximum_size: int) -> Body:
    """Return the request's body, which waitress has received as a whole, in a file."""
    size = req.content_length or 0
    if offset + size > maximum_size:
        raise BodyTooLarge(f"a layer may have at most {maximum_size} bytes")
    return Body(cast(BinaryIO, req.env["wsgi.input"]), size)


def _check_content_range(req: falcon.Request, upload: Upload, body: Body) -> None:
    """Raise if the request says that its chunk belongs elsewhere, or has another length."""
    header = req.get_header("Content-Range")
    if header is None:
        return
    positions = parse_content_range(header)
    if positions is None or positions[0] != upload.offset:
        raise RangeOutOfOrder(upload.offset)
    if positions[1] - positions[0] + 1 != body.size:
        raise SizeInvalid(f"Content-Range is {header[:100]}, but {body.size} bytes came")

"""The driver for S3 and compatible services, such as Ceph's RADOS gateway.

Implementations differ, so the driver depends neither on conditional writes nor on checksums by the
server; the registry verifies digests itself. A write counts only if the answer has an ETag, which
is compared if it is an MD5. A range counts only if the answer has its bounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from atoll.config.stores import S3StoreSettings
from atoll.storage.base import Body, ObjectStore, StoredObject, StoredPart
from atoll.storage.client_errors import unavailable
from atoll.storage.errors import (
    InvalidStoreResponse,
    ObjectChanged,
    ObjectMissing,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.observed_store import Observe, ObservedStore, ignore_outcome
from atoll.storage.probe import READ_MAXIMUM
from atoll.storage.proof import Content, exactly, plain, require_md5, require_range
from atoll.storage.s3 import clients
from atoll.storage.s3.clients import S3Clients
from atoll.storage.s3.completion import complete_upload
from atoll.storage.s3.direct_transfer import DirectTransfer
from atoll.storage.s3.server_side_copy import ServerSideCopy, same_service
from atoll.storage.s3.url_signer import UrlSigner

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_PIECE = 256 * 1024
# The largest object, in bytes, that is read back if the answer to its write has no ETag.
_READ_BACK_MAXIMUM = 8 * 2**20

_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_REFUSED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
# The codes of Ceph and MinIO, and the status of services that have no code for it.
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "507"})
_NO_CONTENT = 204
_BEYOND_THE_END = frozenset({"416", "InvalidRange"})
_CHANGED = frozenset({"412", "PreconditionFailed"})


class S3ObjectStore(ObservedStore):
    """One bucket and path."""

    def __init__(
        self,
        location: str,
        settings: S3StoreSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = ignore_outcome,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._bucket = settings.bucket
        self._prefix = settings.storage_path.strip("/")
        self._clients = S3Clients(settings, ca_bundle)
        self._prober = self._clients.prober
        # None until botocore signed a URL, and if it uses another signature.
        self._url_signer: UrlSigner | None = None

    @classmethod
    def preload(cls) -> None:
        """Load the description of S3's API."""
        clients.load_api()

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object with one request."""
        with self._writes(key):
            content = Content(body, size)
            headers = self._put(key, {}, content) or self._headers(
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._path(key),
                    Body=_for_botocore(body),
                    ContentLength=size,
                )
            )
            if not self._prove(content, headers):
                self._read_back(key, content)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        if end is not None and end <= start:
            return
        with self._answers(key):
            pieces = self._direct.get(self._path(key), start, end) if self._direct else None
            if pieces is None:
                pieces = self._get(key, start, end)
            yield from pieces

    def size(self, key: str) -> int:
        """Return the object's size."""
        with self._answers(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._path(key))
            return int(self._field(answer, "ContentLength"))

    def delete(self, key: str) -> None:
        """Delete one object; S3 returns the same answer whether it existed or not."""
        with self._writes(key, store=False):
            answer = self._client.delete_object(Bucket=self._bucket, Key=self._path(key))
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            if status != _NO_CONTENT and self._exists(key):
                raise InvalidStoreResponse(
                    self.location, f"it answered {status} and deleted nothing"
                )

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix, in the order of S3."""
        with self._answers(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._path(prefix)
            )
            for page in pages:
                self._require_list(page)
                for entry in page.get("Contents", ()):
                    key = entry["Key"][len(self._path("")) :]
                    yield StoredObject(key, entry["Size"], entry["LastModified"])

    def presigned_url(self, key: str, seconds: int) -> str:
        """Sign a GET, without a request unless the credentials of a role have expired."""
        with self._translated(key):
            path = self._path(key)
            if self._url_signer is not None and (url := self._url_signer.sign(path, seconds)):
                return url
            url = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": path}, ExpiresIn=seconds
            )
            # botocore determined the bucket's address; later URLs are signed without it.
            self._url_signer = UrlSigner.like(url, path, self._clients.frozen_credentials)
            return url

    def begin_parts(self, key: str) -> str:
        """Begin a multipart upload."""
        with self._writes(key):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._path(key))
            return str(self._field(answer, "UploadId"))

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one part and return its ETag."""
        with self._writes(key):
            query = {"partNumber": str(number), "uploadId": upload_id}
            content = Content(body, size)
            headers = self._put(key, query, content) or self._headers(
                self._client.upload_part(
                    Bucket=self._bucket,
                    Key=self._path(key),
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=_for_botocore(body),
                    ContentLength=size,
                )
            )
            if not self._prove(content, headers):
                raise WriteNotProven(self.location, "it reported a part as written without an ETag")
            return headers["etag"]

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """List the uploaded parts.

        A tag is the MD5 of the content, unless the store encrypts: then no content matches it.
        """
        with self._answers(key):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=self._path(key), UploadId=upload_id
            )
            return {
                part["PartNumber"]: StoredPart(part["ETag"], part["Size"], part["ETag"].strip('"'))
                for page in pages
                for part in self._require_list(page).get("Parts", [])
            }

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Complete a multipart upload; without an answer, check whether the object exists."""
        target = {"Bucket": self._bucket, "Key": self._path(key), "UploadId": upload_id}
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        with self._writes(key):
            client = self._clients.for_assembly(size)
            complete_upload(client, self._client, self.location, target, parts, size=size)

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Abort a multipart upload."""
        try:
            with self._answers(key):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._path(key), UploadId=upload_id
                )
        except ObjectMissing:
            return

    def can_copy_from(self, source: ObjectStore) -> bool:
        """Return whether the source is the same service, used with the same keys."""
        return isinstance(source, S3ObjectStore) and same_service(self._settings, source._settings)

    def copy_from(
        self, source: ObjectStore, key: str, size: int, prove: Callable[[], None]
    ) -> None:
        """Copy within the service, on the condition that the source keeps its ETag."""
        if not isinstance(source, S3ObjectStore):
            raise TypeError(f"no copy within the service from {source.location}")
        with source._answers(key):
            answer = source._client.head_object(Bucket=source._bucket, Key=source._path(key))
        prove()
        copy = ServerSideCopy(
            self._clients.for_assembly, self.location, self._bucket, self._path(key)
        )
        with self._writes(key):
            copy.run(source._bucket, source._path(key), self._field(answer, "ETag"), size)

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Abort multipart uploads that began before the given time."""
        aborted = 0
        with self._writes(self._prefix, store=False):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._path("")
            )
            for page in pages:
                self._require_list(page)
                for entry in page.get("Uploads", ()):
                    if entry["Initiated"] < before and entry["UploadId"] not in kept:
                        key = entry["Key"][len(self._path("")) :]
                        self.abort_parts(key, entry["UploadId"])
                        aborted += 1
        return aborted

    def name_of(self, key: str) -> str:
        """Return the key in the bucket."""
        return self._path(key)

    def _check_bucket(self) -> None:
        self._prober.head_bucket(Bucket=self._bucket)

    def _read_small(self, key: str) -> bytes:
        answer = self._prober.get_object(Bucket=self._bucket, Key=self._path(key))
        with closing(answer["Body"]) as body:
            return body.read(READ_MAXIMUM)

    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        condition: Any = {"IfNoneMatch": "*"} if new else {}
        answer = self._prober.put_object(
            Bucket=self._bucket, Key=self._path(key), Body=data, **condition
        )
        self._prove(Content(data, len(data)), self._headers(answer))

    @cached_property
    def _direct(self) -> DirectTransfer | None:
        """Transfers without botocore's client; None if the store needs another signature."""
        if self._settings.signature_version != "s3v4":
            return None
        # botocore determines the bucket's address; the signature of the URL is not used.
        url = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": "-"}
        )
        return DirectTransfer(
            self.location,
            url.partition("?")[0].removesuffix("-"),
            self._client.meta.region_name,
            self._clients.frozen_credentials,
            ca_bundle=self._ca_bundle,
            timeout=(clients.CONNECT_TIMEOUT, clients.READ_TIMEOUT),
            connections=clients.CONNECTIONS,
        )

    @property
    def _client(self) -> S3Client:
        return self._clients.default

    def _put(self, key: str, query: dict[str, str], content: Content) -> Mapping[str, str] | None:
        """Write content directly, and return the headers of the answer, or None."""
        if self._direct is None:
            return None
        headers = self._direct.put(self._path(key), query, content)
        if headers is None:
            content.rewind()
        return headers

    def _get(self, key: str, start: int, end: int | None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them, with botocore."""
        arguments: dict[str, Any] = {}
        ranged = bool(start) or end is not None
        if ranged:
            arguments["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._path(key), **arguments)
        except ClientError as error:
            if _code(error) in _BEYOND_THE_END:
                return
            raise
        with closing(answer["Body"]) as body:
            pieces = body.iter_chunks(_READ_PIECE)
            if ranged:
                status = answer["ResponseMetadata"]["HTTPStatusCode"]
                content_range = answer.get("ContentRange")
                length = require_range(self.location, status, content_range, start, end)
                pieces = exactly(self.location, pieces, length)
            yield from pieces

    def _field(self, answer: Any, name: str) -> Any:
        """Return a field that every S3 answer has; raise InvalidStoreResponse if it is missing."""
        if answer.get(name) in {None, ""}:
            raise InvalidStoreResponse(self.location, f"its answer has no {name}")
        return answer[name]

    def _require_list(self, page: Any) -> Any:
        """Return a page of a list; raise InvalidStoreResponse for anything else."""
        if "IsTruncated" not in page and "Name" not in page and "Bucket" not in page:
            raise InvalidStoreResponse(self.location, "it answered with a page that is no list")
        return page

    def _exists(self, key: str) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._path(key))
        except ClientError as error:
            if _code(error) not in _MISSING:
                raise
            return False
        return True

    @staticmethod
    def _headers(answer: Any) -> Mapping[str, str]:
        headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
        return headers

    def _prove(self, content: Content, headers: Mapping[str, str]) -> bool:
        """Compare the ETag with the content, and return False if there is none.

        Raises:
            WriteNotProven: the ETag is the MD5 of other content.
        """
        tag = headers.get("etag", "")
        require_md5(self.location, tag, content, headers)
        return plain(tag) != ""

    def _read_back(self, key: str, content: Content) -> None:
        """Read an object whose write was confirmed without an ETag; raise WriteNotProven."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._path(key))
            if answer.get("ContentLength") == content.size:
                if content.size > _READ_BACK_MAXIMUM:
                    return
                hasher = hashlib.md5(usedforsecurity=False)
                for piece in self._get(key, 0, None):
                    hasher.update(piece)
                if hasher.hexdigest() == content.md5:
                    return
        except ClientError as error:
            if _code(error) not in _MISSING:
                raise
        raise WriteNotProven(
            self.location, "it reported an object as written without an ETag, and does not have it"
        )

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise StoreUnavailable(self.location, "its bucket does not exist") from error
            if code in _MISSING:
                raise ObjectMissing(self.location, key) from error
            if code in _CHANGED:
                raise ObjectChanged(self.location, key) from error
            raise _unavailable(code)(self.location, f"it answered {code}") from error
        except (BotoCoreError, HTTPClientError, HTTPError) as error:
            raise unavailable(self.location, error) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unavailable(code: str) -> type[StoreUnavailable]:
    if code in _FULL:
        return StoreFull
    return StoreRefused if code in _REFUSED else StoreUnavailable


def _for_botocore(body: Body) -> BinaryIO | bytes:
    return bytes(body) if isinstance(body, memoryview) else body

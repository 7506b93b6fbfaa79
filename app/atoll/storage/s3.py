"""The driver for all that speaks S3: Ceph's RADOS gateway, Amazon, and others like them.

Relies on no conditional write and on no checksum of the server's, since implementations differ: the
digest is ours to verify. A write counts when the store returned an ETag for it, which is compared
where it is an MD5; a range when the answer has its bounds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ReadTimeoutError,
)

from atoll.config.stores import S3StoreSettings
from atoll.storage.assumed_role import role_session
from atoll.storage.errors import (
    ObjectChanged,
    ObjectMissing,
    StoreFull,
    StoreMisbehaves,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.interface import Body, ObjectStore, StoredObject, StoredPart
from atoll.storage.no_answer import unavailable
from atoll.storage.observed import Observe, ObservedStore, nobody
from atoll.storage.patience import assembly_seconds
from atoll.storage.probing import READ_MAXIMUM
from atoll.storage.proof import Content, exactly, plain, require_md5, require_range
from atoll.storage.s3_assembly import complete_upload
from atoll.storage.s3_certificates import load_certificates_once
from atoll.storage.s3_copy import ServerSideCopy, same_service
from atoll.storage.s3_direct import DirectTransfer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Seconds. Data may take long, silence may not; a probe is given up early.
_CONNECT_TIMEOUT = 2
_READ_TIMEOUT = 10
_PROBE_TIMEOUT = 2
_CONNECTIONS = 32
# Clients are safe for threads, making one is not.
_MAKING_CLIENTS = threading.Lock()
_READ_PIECE = 256 * 1024
# What is written without a proof in the answer is read again up to this size, in bytes.
_READ_BACK_MAXIMUM = 8 * 2**20

_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_REFUSED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
# Ceph, MinIO, and by its status whoever names no code of its own.
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "507"})
_NO_CONTENT = 204
_BEYOND_THE_END = frozenset({"416", "InvalidRange"})
_CHANGED = frozenset({"412", "PreconditionFailed"})


class S3ObjectStore(ObservedStore):
    """One bucket."""

    def __init__(
        self,
        location: str,
        settings: S3StoreSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = nobody,
    ) -> None:
        super().__init__(location, observe)
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._bucket = settings.bucket
        self._prefix = settings.storage_path.strip("/")
        session = _session()
        if settings.role is not None:
            session = boto3.session.Session(
                botocore_session=role_session(settings, ca_bundle, _PROBE_TIMEOUT)
            )
        self._credentials = _credentials(session, settings)
        self._session = session
        self._client = _client(
            session, settings, ca_bundle, _CONNECT_TIMEOUT, _READ_TIMEOUT, attempts=2
        )
        # By time-out in seconds, for requests that may take longer.
        self._patient_clients: dict[int, S3Client] = {}
        self._prober = _client(
            session, settings, ca_bundle, _PROBE_TIMEOUT, _PROBE_TIMEOUT, attempts=1
        )

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
        """Ask for the object's size."""
        with self._answers(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._path(key))
            return int(self._field(answer, "ContentLength"))

    def delete(self, key: str) -> None:
        """Delete one object; S3 answers the same whether it was there or not."""
        with self._writes(key, store=False):
            answer = self._client.delete_object(Bucket=self._bucket, Key=self._path(key))
            status = answer["ResponseMetadata"]["HTTPStatusCode"]
            if status != _NO_CONTENT and self._exists(key):
                raise StoreMisbehaves(self.location, f"it answered {status} and deleted nothing")

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below PREFIX; S3 sorts them."""
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
        """Sign a GET; no request is made, unless a role's credentials have to be lent first."""
        with self._translated(key):
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._path(key)},
                ExpiresIn=seconds,
            )

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
        """List the parts that are there.

        A tag is the content's MD5, but where the store encrypts: there no content will match it.
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
        """Complete a multipart upload, and look at the object where the answer does not come."""
        target = {"Bucket": self._bucket, "Key": self._path(key), "UploadId": upload_id}
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        with self._writes(key):
            patient = self._patient_client(size)
            complete_upload(patient, self._client, self.location, target, parts, size=size)

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
        """Tell whether SOURCE is the same service, used with the same keys."""
        return isinstance(source, S3ObjectStore) and same_service(self._settings, source._settings)

    def copy_from(
        self, source: ObjectStore, key: str, size: int, prove: Callable[[], None]
    ) -> None:
        """Copy within the service, on the condition that the source's ETag stays."""
        if not isinstance(source, S3ObjectStore):
            raise TypeError(f"no copy within the service from {source.location}")
        with source._answers(key):
            answer = source._client.head_object(Bucket=source._bucket, Key=source._path(key))
        prove()
        copy = ServerSideCopy(self._patient_client, self.location, self._bucket, self._path(key))
        with self._writes(key):
            copy.run(source._bucket, source._path(key), self._field(answer, "ETag"), size)

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Abort the multipart uploads that began BEFORE then."""
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

    def _look(self) -> None:
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
        """The short way for bytes; None where requests are signed in another way than it knows."""
        if self._settings.signature_version != "s3v4":
            return None
        # botocore knows the bucket's address; how it signed the URL does not matter.
        url = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": "-"}
        )
        return DirectTransfer(
            self.location,
            url.partition("?")[0].removesuffix("-"),
            self._client.meta.region_name,
            self._frozen_credentials,
            ca_bundle=self._ca_bundle,
            timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
            connections=_CONNECTIONS,
        )

    def _patient_client(self, size: int) -> S3Client:
        """Return a client that waits as long as the store may need for an object of SIZE bytes."""
        seconds = assembly_seconds(size)
        if seconds <= _READ_TIMEOUT:
            return self._client
        with _MAKING_CLIENTS:
            client = self._patient_clients.get(seconds)
            if client is None:
                client = _client(
                    self._session,
                    self._settings,
                    self._ca_bundle,
                    _CONNECT_TIMEOUT,
                    seconds,
                    attempts=2,
                )
                self._patient_clients[seconds] = client
        return client

    def _frozen_credentials(self) -> ReadOnlyCredentials | None:
        return self._credentials.get_frozen_credentials() if self._credentials else None

    def _put(self, key: str, query: dict[str, str], content: Content) -> Mapping[str, str] | None:
        """Put what is in memory the short way, and return the answer's headers, or None.

        A file's bytes go by botocore, which asks the store before it sends them.
        """
        body = content.body
        if self._direct is None or not isinstance(body, bytes | memoryview):
            return None
        return self._direct.put(self._path(key), query, body, content.md5)

    def _get(self, key: str, start: int, end: int | None) -> Iterator[bytes]:
        """Yield the object's bytes by way of botocore."""
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
        """Return what every answer of S3's has. Raises StoreMisbehaves where it is missing."""
        if answer.get(name) in {None, ""}:
            raise StoreMisbehaves(self.location, f"its answer has no {name}")
        return answer[name]

    def _require_list(self, page: Any) -> Any:
        """Return PAGE. Raises StoreMisbehaves if it is no list, which would be an empty one."""
        if "IsTruncated" not in page and "Name" not in page and "Bucket" not in page:
            raise StoreMisbehaves(self.location, "it answered with a page that is no list")
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
        """Compare the ETag with CONTENT; return False where HEADERS have none.

        Raises WriteNotProven.
        """
        tag = headers.get("etag", "")
        require_md5(self.location, tag, content, headers)
        return plain(tag) != ""

    def _read_back(self, key: str, content: Content) -> None:
        """Look at an object that was written without an ETag. Raises WriteNotProven."""
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
        except (BotoCoreError, HTTPClientError) as error:
            raise unavailable(self.location, error) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unavailable(code: str) -> type[StoreUnavailable]:
    if code in _FULL:
        return StoreFull
    return StoreRefused if code in _REFUSED else StoreUnavailable


def _for_botocore(body: Body) -> BinaryIO | bytes:
    return bytes(body) if isinstance(body, memoryview) else body


def _credentials(session: boto3.session.Session, settings: S3StoreSettings) -> Credentials | None:
    """Return what to sign with; the session's own where the bundle names no keys."""
    if settings.role is not None or settings.credentials is None:
        return session.get_credentials()
    access_key, secret_key = settings.credentials
    token = settings.session_token
    return Credentials(
        access_key.get_secret_value(),
        secret_key.get_secret_value(),
        token.get_secret_value() if token else None,
    )


@cache
def _session() -> boto3.session.Session:
    """Return the one session: it reads S3's description, which takes long, only once.

    Clients are safe for threads, making one is not: a process makes its own before it has threads.
    """
    return boto3.session.Session()


def _client(
    session: boto3.session.Session,
    settings: S3StoreSettings,
    ca_bundle: str | None,
    connect_timeout: int,
    read_timeout: int,
    *,
    attempts: int,
) -> S3Client:
    # With a role, the keys are for borrowing it, and the session brings those that were lent.
    keys = settings.credentials if settings.role is None else None
    token = settings.session_token
    client = session.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region or "us-east-1",
        aws_access_key_id=keys[0].get_secret_value() if keys else None,
        aws_secret_access_key=keys[1].get_secret_value() if keys else None,
        aws_session_token=token.get_secret_value() if token else None,
        verify=ca_bundle,
        config=Config(
            signature_version=settings.signature_version,
            s3={"addressing_style": "path"} if settings.endpoint else {},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
        ),
    )
    # The published types know neither this nor a handler that answers.
    internals: Any = client
    load_certificates_once(internals._endpoint.http_session)
    veto: Any = _unless_silent
    client.meta.events.register_first("needs-retry.s3", veto)
    return client


def _unless_silent(caught_exception: Exception | None, **_arguments: object) -> bool | None:
    """Keep botocore from asking again after a time-out: who waits has waited long enough.

    What failed at once is asked again: the store may have closed a connection that was kept.
    """
    return False if isinstance(caught_exception, ConnectTimeoutError | ReadTimeoutError) else None

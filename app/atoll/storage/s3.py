"""The driver for all that speaks S3: Ceph's RADOS gateway, Amazon, and others like them.

Rests on no conditional write and on no checksum of the server's: implementations differ, and the
digest is ours to verify.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
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
    StoreRefused,
    StoreUnavailable,
)
from atoll.storage.interface import Body, ObjectStore, StoredObject, StoredPart
from atoll.storage.no_answer import unavailable
from atoll.storage.observed import Observe, ObservedStore, nobody
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
_READ_PIECE = 256 * 1024
_PROBE_KEY = "_verify"

_MISSING = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_REFUSED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
# Ceph, MinIO, and by its status whoever names no code of its own.
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "507"})
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
        self._client = _client(
            session, settings, ca_bundle, _CONNECT_TIMEOUT, _READ_TIMEOUT, attempts=2
        )
        self._prober = _client(
            session, settings, ca_bundle, _PROBE_TIMEOUT, _PROBE_TIMEOUT, attempts=1
        )

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object with one request."""
        with self._answers(key, write=True):
            if self._put_directly(key, {}, body) is not None:
                return
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._path(key),
                Body=_for_botocore(body),
                ContentLength=size,
            )

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        arguments: dict[str, Any] = {}
        if start or end is not None:
            arguments["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answers(key):
            pieces = self._direct.get(self._path(key), start, end) if self._direct else None
            if pieces is not None:
                yield from pieces
                return
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=self._path(key), **arguments
                )
            except ClientError as error:
                if _code(error) in _BEYOND_THE_END:
                    return
                raise
            with closing(answer["Body"]) as body:
                yield from body.iter_chunks(_READ_PIECE)

    def size(self, key: str) -> int:
        """Ask for the object's size."""
        with self._answers(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._path(key))
            return answer["ContentLength"]

    def delete(self, key: str) -> None:
        """Delete one object; S3 answers the same whether it was there or not."""
        with self._answers(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._path(key))

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below PREFIX; S3 sorts them."""
        with self._answers(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._path(prefix)
            )
            for page in pages:
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
        with self._answers(key, write=True):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._path(key))
            return answer["UploadId"]

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one part and return its ETag."""
        with self._answers(key, write=True):
            query = {"partNumber": str(number), "uploadId": upload_id}
            if tag := self._put_directly(key, query, body):
                return tag
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._path(key),
                UploadId=upload_id,
                PartNumber=number,
                Body=_for_botocore(body),
                ContentLength=size,
            )
            return answer["ETag"]

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
                for part in page.get("Parts", [])
            }

    def finish_parts(self, key: str, upload_id: str, tags: list[str]) -> None:
        """Complete a multipart upload."""
        with self._answers(key, write=True):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._path(key),
                UploadId=upload_id,
                MultipartUpload={
                    "Parts": [
                        {"PartNumber": number, "ETag": tag}
                        for number, tag in enumerate(tags, start=1)
                    ]
                },
            )

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
        copy = ServerSideCopy(self._client, self._bucket, self._path(key))
        with self._answers(key, write=True):
            copy.run(source._bucket, source._path(key), answer["ETag"], size)

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Abort the multipart uploads that began BEFORE then."""
        aborted = 0
        with self._answers(self._prefix):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._path("")
            )
            for page in pages:
                for entry in page.get("Uploads", ()):
                    if entry["Initiated"] < before and entry["UploadId"] not in kept:
                        key = entry["Key"][len(self._path("")) :]
                        self.abort_parts(key, entry["UploadId"])
                        aborted += 1
        return aborted

    def probe(self, *, write: bool) -> None:
        """Ask for the bucket or, with WRITE, put the small object that Quay's check puts."""
        # Not observed: whoever probes draws the conclusions.
        with self._translated(_PROBE_KEY):
            if write:
                self._prober.put_object(Bucket=self._bucket, Key=self._path(_PROBE_KEY), Body=b"ok")
            else:
                self._prober.head_bucket(Bucket=self._bucket)

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
            url.partition("?")[0].removesuffix("-"),
            self._client.meta.region_name,
            self._frozen_credentials,
            ca_bundle=self._ca_bundle,
            timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
            connections=_CONNECTIONS,
        )

    def _frozen_credentials(self) -> ReadOnlyCredentials | None:
        return self._credentials.get_frozen_credentials() if self._credentials else None

    def _put_directly(self, key: str, query: dict[str, str], body: Body) -> str | None:
        """Put what is in memory the short way, and return its ETag; None where that fails.

        A file's bytes go by botocore, which asks the store before it sends them.
        """
        if self._direct is None or not isinstance(body, bytes | memoryview):
            return None
        return self._direct.put(self._path(key), query, body)

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

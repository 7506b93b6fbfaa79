"""The driver for all that speaks S3: Ceph's RADOS gateway, Amazon, and others like them.

Rests on no conditional write and on no checksum of the server's: implementations differ, and the
digest is ours to verify.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from prometheus_client import Counter

from atoll.config import StoreSettings
from atoll.storage.errors import ObjectMissing, StoreRefused, StoreUnavailable
from atoll.storage.interface import ObjectStore

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

REQUESTS = Counter("atoll_store_requests", "Requests to stores", ["location", "outcome"])


class S3ObjectStore(ObjectStore):
    """One bucket. OBSERVE is told of each request whether the store served it."""

    def __init__(
        self,
        location: str,
        settings: StoreSettings,
        *,
        ca_bundle: str | None = None,
        observe: Callable[[str, str | None], None] = lambda _location, _failure: None,
    ) -> None:
        self.location = location
        self._bucket = settings.bucket
        self._prefix = settings.storage_path.strip("/")
        self._observe = observe
        self._client = _client(settings, ca_bundle, _CONNECT_TIMEOUT, _READ_TIMEOUT, attempts=2)
        self._prober = _client(settings, ca_bundle, _PROBE_TIMEOUT, _PROBE_TIMEOUT, attempts=1)

    def put(self, key: str, body: BinaryIO | bytes, size: int) -> None:
        """Write one object with one request."""
        with self._answers(key):
            self._client.put_object(
                Bucket=self._bucket, Key=self._path(key), Body=body, ContentLength=size
            )

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        arguments: dict[str, Any] = {}
        if start or end is not None:
            arguments["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        with self._answers(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._path(key), **arguments)
            yield from answer["Body"].iter_chunks(_READ_PIECE)

    def size(self, key: str) -> int:
        """Ask for the object's size."""
        with self._answers(key):
            answer = self._client.head_object(Bucket=self._bucket, Key=self._path(key))
            return answer["ContentLength"]

    def delete(self, key: str) -> None:
        """Delete one object; S3 answers the same whether it was there or not."""
        with self._answers(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._path(key))

    def presigned_url(self, key: str, seconds: int) -> str:
        """Sign a GET; no request is made."""
        return self._client.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": self._path(key)},
            ExpiresIn=seconds,
        )

    def begin_parts(self, key: str) -> str:
        """Begin a multipart upload."""
        with self._answers(key):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._path(key))
            return answer["UploadId"]

    def put_part(
        self, key: str, upload_id: str, number: int, body: BinaryIO | bytes, size: int
    ) -> str:
        """Write one part and return its ETag."""
        with self._answers(key):
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._path(key),
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
                ContentLength=size,
            )
            return answer["ETag"]

    def finish_parts(self, key: str, upload_id: str, tags: list[str]) -> None:
        """Complete a multipart upload."""
        with self._answers(key):
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

    def probe(self, *, write: bool) -> None:
        """Ask for the bucket or, with WRITE, put the small object that Quay's check puts."""
        # Not observed: whoever probes draws the conclusions.
        with self._translated(_PROBE_KEY):
            if write:
                self._prober.put_object(Bucket=self._bucket, Key=self._path(_PROBE_KEY), Body=b"ok")
            else:
                self._prober.head_bucket(Bucket=self._bucket)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _answers(self, key: str) -> Iterator[None]:
        """Translate errors, count the request and tell the observer how it went."""
        try:
            with self._translated(key):
                yield
        except StoreUnavailable as error:
            REQUESTS.labels(self.location, "failed").inc()
            self._observe(self.location, error.cause)
            raise
        except ObjectMissing:
            REQUESTS.labels(self.location, "missing").inc()
            raise
        REQUESTS.labels(self.location, "served").inc()
        self._observe(self.location, None)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == "NoSuchBucket":
                raise StoreUnavailable(self.location, "its bucket does not exist") from error
            if code in _MISSING:
                raise ObjectMissing(self.location, key) from error
            kind = StoreRefused if code in _REFUSED else StoreUnavailable
            raise kind(self.location, f"it answered {code}") from error
        except (BotoCoreError, HTTPClientError) as error:
            raise StoreUnavailable(self.location, type(error).__name__) from error


@cache
def _session() -> boto3.session.Session:
    """Return the one session: it reads S3's description, which takes long, only once.

    Clients are safe for threads, making one is not: a process makes its own before it has threads.
    """
    return boto3.session.Session()


def _client(
    settings: StoreSettings,
    ca_bundle: str | None,
    connect_timeout: int,
    read_timeout: int,
    *,
    attempts: int,
) -> S3Client:
    keys = settings.credentials
    return _session().client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region or "us-east-1",
        aws_access_key_id=keys[0].get_secret_value() if keys else None,
        aws_secret_access_key=keys[1].get_secret_value() if keys else None,
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

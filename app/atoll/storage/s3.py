"""The driver for all that speaks S3: Ceph's RADOS gateway, Amazon, and others like them.

Rests on no conditional write and on no checksum of the server's: implementations differ, and the
digest is ours to verify.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from atoll.config.stores import S3StoreSettings
from atoll.storage.assumed_role import role_session
from atoll.storage.errors import ObjectMissing, StoreRefused, StoreUnavailable
from atoll.storage.observed import Observe, ObservedStore, nobody

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
_BEYOND_THE_END = frozenset({"416", "InvalidRange"})


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
        self._bucket = settings.bucket
        self._prefix = settings.storage_path.strip("/")
        session = _session()
        if settings.role is not None:
            session = boto3.session.Session(
                botocore_session=role_session(settings, ca_bundle, _PROBE_TIMEOUT)
            )
        self._client = _client(
            session, settings, ca_bundle, _CONNECT_TIMEOUT, _READ_TIMEOUT, attempts=2
        )
        self._prober = _client(
            session, settings, ca_bundle, _PROBE_TIMEOUT, _PROBE_TIMEOUT, attempts=1
        )

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
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise StoreUnavailable(self.location, "its bucket does not exist") from error
            if code in _MISSING:
                raise ObjectMissing(self.location, key) from error
            kind = StoreRefused if code in _REFUSED else StoreUnavailable
            raise kind(self.location, f"it answered {code}") from error
        except (BotoCoreError, HTTPClientError) as error:
            raise StoreUnavailable(self.location, type(error).__name__) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


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
    return session.client(
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

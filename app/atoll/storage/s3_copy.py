"""Let S3 copy an object between two buckets or paths of one service.

The bytes do not pass through here, so whoever orders it has read and hashed them before; the copy
is made on the condition that the object still has the ETag that it had then.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from atoll.config.stores import S3StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GIBIBYTE = 2**30
# What one request may copy, and how much one does of an object that is larger.
SINGLE_MAXIMUM = 5 * GIBIBYTE
PART_SIZE = GIBIBYTE
_AT_ONCE = 4


def same_service(one: S3StoreSettings, other: S3StoreSettings) -> bool:
    """Tell whether two stores are at one endpoint and used with the same keys or role."""
    return _identity(one) == _identity(other)


def _identity(settings: S3StoreSettings) -> tuple[Any, ...]:
    return (settings.endpoint, settings.credentials, settings.session_token, settings.role)


class ServerSideCopy:
    """Copies to KEY in BUCKET. What CLIENT raises is raised."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._target: dict[str, Any] = {"Bucket": bucket, "Key": key}

    def run(self, bucket: str, key: str, etag: str, size: int) -> None:
        """Copy KEY of BUCKET, SIZE bytes that have ETAG: at once, or in parts where it must be."""
        source: dict[str, Any] = {
            "CopySource": {"Bucket": bucket, "Key": key},
            # Ceph compares with the quotes, if it is given any, and finds nothing that matches.
            "CopySourceIfMatch": etag.strip('"'),
        }
        if size <= SINGLE_MAXIMUM:
            self._client.copy_object(**self._target, **source)
        else:
            self._in_parts(source, size)

    def _in_parts(self, source: dict[str, Any], size: int) -> None:
        upload_id = self._client.create_multipart_upload(**self._target)["UploadId"]
        upload = {**self._target, "UploadId": upload_id}

        def copy(numbered: tuple[int, int]) -> dict[str, Any]:
            number, start = numbered
            answer = self._client.upload_part_copy(
                **upload,
                **source,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{min(start + PART_SIZE, size) - 1}",
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            with ThreadPoolExecutor(_AT_ONCE) as executor:
                starts = enumerate(range(0, size, PART_SIZE), start=1)
                parts: Any = list(executor.map(copy, starts))
            self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except Exception:
            self._client.abort_multipart_upload(**upload)
            raise
